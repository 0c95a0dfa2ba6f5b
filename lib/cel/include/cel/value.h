/* The values of CEL (the Common Expression Language; github.com/google/cel-spec, doc/langdef.md, "Values")
 * and how a host hands its own to an expression. A value is 16 bytes, copied freely, and owns nothing: what
 * it points to belongs to whoever made it and must outlive the evaluation (and the use of its result).
 *
 *     CEL              host
 *     null, bool       kind, .boolean
 *     int, uint        .integer, .natural (64 bits)
 *     double           .real (IEEE 754)
 *     string           .text and .size: valid UTF-8, not NUL-terminated; cel_text() checks nothing
 *     bytes            .text and .size
 *     timestamp        .integer seconds since 1970 and .size nanoseconds, years 1 to 9999
 *     duration         .integer nanoseconds (±292 years, as in cel-go)
 *     list, map        .list, .map: an array, or functions of the host that find elements as they are asked
 * for object           .object: a record of the host with the fields that its cel_object_type declares type
 * .text: the name of a type optional         .inner: NULL is optional.none() net.IP, net.CIDR .address: 16
 * bytes in network order, the first 4 used by IPv4; .family is 4 or 6, .prefix the length opaque .opaque: a
 * value of a type that only the host's functions understand unknown          .text: the name of the fact that
 * is absent. It propagates: an expression whose result depends on it yields it, one that does not (false &&
 * unknown) yields its result error            .text: what went wrong (NUL-terminated); .reason; .size is the
 * offset in the source */
#ifndef CEL_VALUE_H
#define CEL_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum cel_kind {
    CEL_NULL,
    CEL_BOOL,
    CEL_INT,
    CEL_UINT,
    CEL_DOUBLE,
    CEL_STRING,
    CEL_BYTES,
    CEL_LIST,
    CEL_MAP,
    CEL_TIMESTAMP,
    CEL_DURATION,
    CEL_TYPE,
    CEL_OPTIONAL,
    CEL_OBJECT,
    CEL_IP,
    CEL_CIDR,
    CEL_OPAQUE,
    CEL_UNKNOWN,
    CEL_ERROR,
} cel_kind;

/* Why an evaluation yields an error. */
typedef enum cel_reason {
    CEL_NO_SUCH_OVERLOAD, /* a function does not take these kinds of arguments */
    CEL_NO_SUCH_NAME,     /* an identifier or function that nobody declared (only without type check) */
    CEL_NO_SUCH_KEY,
    CEL_NO_SUCH_FIELD,
    CEL_OUT_OF_RANGE, /* an index, a conversion */
    CEL_OVERFLOW,
    CEL_DIVIDE_BY_ZERO,
    CEL_BAD_ARGUMENT, /* text that is no number, date, address, expression, … */
    CEL_DUPLICATE_KEY,
    CEL_HOST_ERROR, /* for functions of the host */
} cel_reason;

typedef struct cel_value cel_value;
typedef struct cel_list cel_list;
typedef struct cel_map cel_map;
typedef struct cel_object cel_object;
typedef struct cel_object_type cel_object_type;
typedef struct cel_opaque cel_opaque;

struct cel_value {
    uint8_t kind; /* cel_kind */
    union {
        uint8_t reason; /* CEL_ERROR: cel_reason */
        uint8_t family; /* CEL_IP, CEL_CIDR */
    };
    uint8_t prefix; /* CEL_CIDR */
    uint32_t size;  /* bytes of text; nanoseconds of a timestamp */
    union {
        bool boolean;
        int64_t integer;
        uint64_t natural;
        double real;
        const char *text;
        const cel_list *list;
        const cel_map *map;
        const cel_object *object;
        const cel_value *inner;
        const uint8_t *address;
        const cel_opaque *opaque;
    };
};

/* With `items`, an array; without, `at` is asked for elements 0 … count-1. */
struct cel_list {
    uint32_t count;
    const cel_value *items;
    cel_value (*at)(const void *host, uint32_t index);
    const void *host;
};

typedef struct cel_entry {
    cel_value key; /* bool, int, uint or string */
    cel_value value;
} cel_entry;

/* With `entries`, an array without duplicate keys; without, `find` answers lookups (false: no such key) and
 * `at` lists the entries 0 … count-1 for macros and comparisons. Keys 1, 1u and 1.0 are the same key. */
struct cel_map {
    uint32_t count;
    const cel_entry *entries;
    bool (*find)(const void *host, cel_value key, cel_value *value);
    cel_entry (*at)(const void *host, uint32_t index);
    const void *host;
};

struct cel_object {
    const cel_object_type *type;
    const void *host;
};

/* `name` says which opaque type of the environment it is. */
struct cel_opaque {
    const char *name;
    const void *host;
};

static inline cel_value cel_null(void) {
    return (cel_value){.kind = CEL_NULL};
}
static inline cel_value cel_bool(bool value) {
    return (cel_value){.kind = CEL_BOOL, .boolean = value};
}
static inline cel_value cel_int(int64_t value) {
    return (cel_value){.kind = CEL_INT, .integer = value};
}
static inline cel_value cel_uint(uint64_t value) {
    return (cel_value){.kind = CEL_UINT, .natural = value};
}
static inline cel_value cel_double(double value) {
    return (cel_value){.kind = CEL_DOUBLE, .real = value};
}
static inline cel_value cel_text(const char *data, size_t size) {
    return (cel_value){.kind = CEL_STRING, .size = (uint32_t)size, .text = data};
}
static inline cel_value cel_octets(const void *data, size_t size) {
    return (cel_value){.kind = CEL_BYTES, .size = (uint32_t)size, .text = data};
}
static inline cel_value cel_timestamp(int64_t seconds, uint32_t nanoseconds) {
    return (cel_value){.kind = CEL_TIMESTAMP, .size = nanoseconds, .integer = seconds};
}
static inline cel_value cel_duration(int64_t nanoseconds) {
    return (cel_value){.kind = CEL_DURATION, .integer = nanoseconds};
}
static inline cel_value cel_list_of(const cel_list *list) {
    return (cel_value){.kind = CEL_LIST, .list = list};
}
static inline cel_value cel_map_of(const cel_map *map) {
    return (cel_value){.kind = CEL_MAP, .map = map};
}
static inline cel_value cel_object_of(const cel_object *object) {
    return (cel_value){.kind = CEL_OBJECT, .object = object};
}
/* `fact` names what is absent, as a person should read it; NUL-terminated, must outlive the result. */
cel_value cel_unknown(const char *fact);

/* Elements, whoever holds them; `index` < count. */
static inline cel_value cel_list_at(const cel_list *list, uint32_t index) {
    return list->items != NULL ? list->items[index] : list->at(list->host, index);
}
static inline cel_entry cel_map_at(const cel_map *map, uint32_t index) {
    return map->entries != NULL ? map->entries[index] : map->at(map->host, index);
}
/* False when there is no such key; *value untouched then. */
bool cel_map_find(const cel_map *map, cel_value key, cel_value *value);

/* CEL's equality: numbers compare across types, NaN differs from itself, values of different types differ.
 * False also for unknowns and errors, and for values nested more than 250 deep. */
bool cel_equal(cel_value left, cel_value right);

/* The name that CEL gives the kind: "int", "google.protobuf.Timestamp", "net.IP", … */
const char *cel_kind_name(cel_kind kind);

#endif
