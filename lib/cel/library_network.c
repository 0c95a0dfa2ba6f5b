/* The network extension: IP addresses and CIDR ranges (cel-go, ext/network.go, which follows Go's net/netip).
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "code.h"
#include "text.h"

/* ---- Text
 * ------------------------------------------------------------------------------------------------------ */

static bool is_mapped(const uint8_t *address) {
    static const uint8_t PREFIX[12] = {[10] = 0xFF, [11] = 0xFF};
    return memcmp(address, PREFIX, sizeof PREFIX) == 0;
}

/* What is wrong, NULL for nothing. Zones are refused, and IPv4 written within IPv6. */
static const char *read_address(const char *data, size_t size, uint8_t out[16], uint8_t *family) {
    char text[64];
    if (memchr(data, '%', size) != NULL)
        return "an address with a zone is not allowed";
    if (size == 0 || size >= sizeof text || memchr(data, 0, size) != NULL)
        return "the text is no IP address";
    memcpy(text, data, size);
    text[size] = 0;
    memset(out, 0, 16);
    *family = strchr(text, ':') != NULL ? 6 : 4;
    if (inet_pton(*family == 6 ? AF_INET6 : AF_INET, text, out) != 1)
        return "the text is no IP address";
    bool dotted = *family == 6 && strchr(text, '.') != NULL;
    return dotted && is_mapped(out) ? "an IPv4-mapped IPv6 address is not allowed" : NULL;
}

/* RFC 5952 of an IPv6 address; inet_ntop would write some with a dotted end. */
static void put_address6(const uint8_t *address, char *out, size_t room) {
    int best = -1;
    int best_size = 1;
    for (int i = 0; i < 8; i++) {
        int run = 0;
        while (i + run < 8 && address[(i + run) * 2] == 0 && address[(i + run) * 2 + 1] == 0)
            run++;
        if (run > best_size) {
            best = i;
            best_size = run;
        }
    }
    size_t used = 0;
    for (int i = 0; i < 8 && used < room; i++) {
        if (i == best) {
            used += (size_t)snprintf(out + used, room - used, "::");
            i += best_size - 1;
            continue;
        }
        bool colon = i > 0 && i != best + best_size;
        used += (size_t)snprintf(out + used, room - used, "%s%x", colon || (i > 0 && best < 0) ? ":" : "",
                                 (unsigned)address[i * 2] << 8 | address[i * 2 + 1]);
    }
}

void text_address(cel_value value, char out[TEXT_BYTES]) {
    const uint8_t *a = value.address;
    if (value.family == 4)
        snprintf(out, TEXT_BYTES, "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
    else
        put_address6(a, out, TEXT_BYTES - 8);
    if (value.kind == CEL_CIDR) {
        size_t used = strlen(out);
        snprintf(out + used, TEXT_BYTES - used, "/%u", value.prefix);
    }
}

/* ---- Values
 * ---------------------------------------------------------------------------------------------------- */

static cel_value make(cel_call *call, cel_kind kind, const uint8_t *address, uint8_t family, uint8_t prefix) {
    uint8_t *kept = cel_call_memory(call, 16);
    if (kept == NULL)
        return cel_null();
    memcpy(kept, address, 16);
    return (cel_value){.kind = (uint8_t)kind, .family = family, .prefix = prefix, .address = kept};
}

static cel_value read_ip(cel_call *call, cel_value text) {
    uint8_t address[16];
    uint8_t family;
    const char *wrong = read_address(text.text, text.size, address, &family);
    return wrong != NULL ? call_failed(call, CEL_BAD_ARGUMENT, wrong)
                         : make(call, CEL_IP, address, family, 0);
}

static cel_value read_cidr(cel_call *call, cel_value text) {
    uint8_t address[16];
    uint8_t family;
    const char *slash = memchr(text.text, '/', text.size);
    if (slash == NULL)
        return call_failed(call, CEL_BAD_ARGUMENT, "the text is no CIDR range");
    size_t size = (size_t)(slash - text.text);
    size_t digits = text.size - size - 1;
    const char *wrong = read_address(text.text, size, address, &family);
    unsigned prefix = 0;
    bool number = digits > 0 && digits <= 3 && (digits == 1 || slash[1] != '0');
    for (size_t i = 0; number && i < digits; i++) {
        number = slash[1 + i] >= '0' && slash[1 + i] <= '9';
        prefix = prefix * 10 + (unsigned)(slash[1 + i] - '0');
    }
    if (wrong == NULL && (!number || prefix > (family == 4 ? 32U : 128U)))
        wrong = "the text is no CIDR range";
    return wrong != NULL ? call_failed(call, CEL_BAD_ARGUMENT, wrong)
                         : make(call, CEL_CIDR, address, family, (uint8_t)prefix);
}

static cel_value ip(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)count;
    return read_ip(call, arguments[0]);
}

static cel_value cidr(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)count;
    return read_cidr(call, arguments[0]);
}

static cel_value is_ip(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)count;
    return cel_bool(read_ip(call, arguments[0]).kind == CEL_IP);
}

static cel_value is_cidr(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)count;
    return cel_bool(read_cidr(call, arguments[0]).kind == CEL_CIDR);
}

static cel_value is_canonical(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value value = read_ip(call, arguments[0]);
    char text[TEXT_BYTES];
    (void)count;
    if (value.kind != CEL_IP)
        return value;
    text_address(value, text);
    return cel_bool(bytes_equal(text_bytes(arguments[0]), bytes_of_text(text)));
}

static cel_value family(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)call;
    (void)count;
    return cel_int(arguments[0].family);
}

typedef struct address_class {
    bool unspecified, loopback, multicast, link_multicast, link_unicast, broadcast;
} address_class;

static address_class classify(cel_value value) {
    static const uint8_t ZERO[16];
    const uint8_t *a = value.address;
    if (value.family == 4)
        return (address_class){.unspecified = memcmp(a, ZERO, 4) == 0,
                               .loopback = a[0] == 127,
                               .multicast = (a[0] & 0xF0U) == 0xE0U,
                               .link_multicast = a[0] == 224 && a[1] == 0 && a[2] == 0,
                               .link_unicast = a[0] == 169 && a[1] == 254,
                               .broadcast = (a[0] & a[1] & a[2] & a[3]) == 255};
    return (address_class){.unspecified = memcmp(a, ZERO, 16) == 0,
                           .loopback = memcmp(a, ZERO, 15) == 0 && a[15] == 1,
                           .multicast = a[0] == 0xFF,
                           .link_multicast = a[0] == 0xFF && (a[1] & 0x0FU) == 2,
                           .link_unicast = a[0] == 0xFE && (a[1] & 0xC0U) == 0x80U};
}

#define CLASS_TEST(name, expression)                                                                         \
    static cel_value name(cel_call *call, const cel_value *arguments, uint32_t count) {                      \
        address_class is = classify(arguments[0]);                                                           \
        (void)call;                                                                                          \
        (void)count;                                                                                         \
        return cel_bool(expression);                                                                         \
    }
CLASS_TEST(is_unspecified, is.unspecified)
CLASS_TEST(is_loopback, is.loopback)
CLASS_TEST(is_global_unicast,
           !is.unspecified && !is.loopback && !is.multicast && !is.link_unicast && !is.broadcast)
CLASS_TEST(is_link_local_multicast, is.link_multicast)
CLASS_TEST(is_link_local_unicast, is.link_unicast)

/* Whether the first `prefix` bits are the same. */
static bool same_prefix(const uint8_t *left, const uint8_t *right, uint8_t prefix) {
    size_t whole = prefix / 8;
    uint8_t mask = (uint8_t)(0xFF00U >> prefix % 8);
    return memcmp(left, right, whole) == 0 && (prefix % 8 == 0 || ((left[whole] ^ right[whole]) & mask) == 0);
}

static cel_value contains_ip(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value address = arguments[1].kind == CEL_STRING ? read_ip(call, arguments[1]) : arguments[1];
    (void)count;
    if (address.kind != CEL_IP)
        return address;
    return cel_bool(arguments[0].family == address.family &&
                    same_prefix(arguments[0].address, address.address, arguments[0].prefix));
}

static cel_value contains_cidr(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value range = arguments[1].kind == CEL_STRING ? read_cidr(call, arguments[1]) : arguments[1];
    (void)count;
    if (range.kind != CEL_CIDR)
        return range;
    return cel_bool(arguments[0].family == range.family && arguments[0].prefix <= range.prefix &&
                    same_prefix(arguments[0].address, range.address, arguments[0].prefix));
}

static cel_value cidr_ip(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value value = arguments[0];
    (void)call;
    (void)count;
    value.kind = CEL_IP;
    value.prefix = 0;
    return value;
}

static cel_value masked(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value value = arguments[0];
    uint8_t address[16];
    (void)count;
    memcpy(address, value.address, sizeof address);
    for (unsigned bit = value.prefix; bit < 128; bit++)
        address[bit / 8] &= (uint8_t) ~(0x80U >> bit % 8);
    return make(call, CEL_CIDR, address, value.family, value.prefix);
}

static cel_value prefix_length(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)call;
    (void)count;
    return cel_int(arguments[0].prefix);
}

static const library_row NETWORK[] = {
    {"ip", "s", "p", ip},
    {"ip", ".c", "p", cidr_ip},
    {"cidr", "s", "c", cidr},
    {"isIP", "s", "b", is_ip},
    {"isCIDR", "s", "b", is_cidr},
    {"ip.isCanonical", "s", "b", is_canonical},
    {"family", ".p", "i", family},
    {"isUnspecified", ".p", "b", is_unspecified},
    {"isLoopback", ".p", "b", is_loopback},
    {"isGlobalUnicast", ".p", "b", is_global_unicast},
    {"isLinkLocalMulticast", ".p", "b", is_link_local_multicast},
    {"isLinkLocalUnicast", ".p", "b", is_link_local_unicast},
    {"containsIP", ".cp", "b", contains_ip},
    {"containsIP", ".cs", "b", contains_ip},
    {"containsCIDR", ".cc", "b", contains_cidr},
    {"containsCIDR", ".cs", "b", contains_cidr},
    {"masked", ".c", "c", masked},
    {"prefixLength", ".c", "i", prefix_length},
};
const library library_network = {NETWORK, sizeof NETWORK / sizeof *NETWORK};
