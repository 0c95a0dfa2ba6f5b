/* Building a view from hostile coordination. The input is a list of keys and values, of which some values are
 * payloads that an operator signs here, so that what lies behind the signature is reached too. */
#include <stdlib.h>
#include <string.h>

#include "crypto/dsse.h"
#include "view.h"
#include "wire/scan.h"

#define KVS_MAX 16U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static simulated_chance world;
static secret_key *operator_key;
static trust roots;
static arena memory;

static void prepare(void) {
    failure why = {0};
    crypto_init();
    simulated_chance_init(&world, 1);
    world.wall_ns = INT64_C(4000000000000000000);
    if (secret_key_generate(&world.chance, KEY_OPERATOR, &operator_key, &why) != STATUS_OK)
        abort();
    memcpy(roots.installation, "demo", 5);
    roots.keys[0].purpose = KEY_OPERATOR;
    memcpy(roots.keys[0].principal, "operator/alice", 15);
    roots.keys[0].key = *secret_key_public(operator_key);
    roots.count = 1;
    arena_init(&memory, 65536, 16U << 20);
}

/* The next of the pieces that a byte 0xff separates. */
static bytes next_piece(bytes *rest) {
    const uint8_t *end = rest->size == 0 ? NULL : memchr(rest->data, 0xff, rest->size);
    size_t size = end == NULL ? rest->size : (size_t)(end - rest->data);
    bytes piece = bytes_of(rest->data, size);
    size_t step = end == NULL ? size : size + 1;
    *rest = bytes_of(step == 0 ? NULL : rest->data + step, rest->size - step);
    return piece;
}

static const char *const types[] = {PAYLOAD_ENROLMENT, PAYLOAD_POLICY_SET, PAYLOAD_KILL};

/* A value that begins with 1, 2 or 3 is signed as an enrolment, a policy set or a kill switch. */
static bytes value_of(bytes piece) {
    bytes out = piece;
    if (piece.size == 0 || piece.data[0] == 0 || piece.data[0] > 3)
        return out;
    Interlock__Common__V1__Envelope *envelope =
        dsse_sign(operator_key, types[piece.data[0] - 1], bytes_of(piece.data + 1, piece.size - 1), &memory);
    if (envelope == NULL || wire_pack(&envelope->base, &memory, &out, NULL) != STATUS_OK)
        return piece;
    return out;
}

static int compare_key(const void *a, const void *b) {
    return strcmp(((const coord_kv *)a)->key, ((const coord_kv *)b)->key);
}

static size_t read_kvs(bytes rest, coord_kv *kvs) {
    size_t count = 0;
    while (rest.size > 0 && count < KVS_MAX) {
        bytes key = next_piece(&rest), value = next_piece(&rest);
        char *text = arena_zero(&memory, key.size + 1, 1);
        if (text == NULL || key.size >= COORD_KEY_BYTES)
            break;
        if (key.size != 0)
            memcpy(text, key.data, key.size);
        kvs[count++] = (coord_kv){.key = text, .value = value_of(value), .mod_revision = 1};
    }
    qsort(kvs, count, sizeof *kvs, compare_key);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (operator_key == NULL)
        prepare();
    arena_reset(&memory);
    coord_kv kvs[KVS_MAX];
    seen known = {0};
    size_t count = read_kvs(bytes_of(data, size), kvs);
    for (int round = 0; round < 2; round++) { /* the second one knows what the first has seen */
        view_box *box = NULL;
        failure why = {0};
        if (view_build(&roots, &world.chance, &known, kvs, count, &box, &why) != STATUS_OK)
            continue;
        char *targets[] = {"service:prod/shop/cart"};
        (void)control_find_kill(&box->view, "agent/a", "m", "deploy", targets, 1);
        (void)control_find_key(&box->view, "00");
        (void)control_find_principal(&box->view, "agent/a");
        view_unref(box);
    }
    announcement said;
    if (announcement_parse(bytes_of(data, size), &said) && memchr(said.boot_id, 0, 36) != NULL)
        abort(); /* a boot id has no end before its end */
    seen_free(&known);
    return 0;
}
