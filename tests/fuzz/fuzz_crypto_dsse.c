/* Any bytes as an envelope: unpacked and verified, as a service does it. What verifies must be what the key
 * signs. */
#include <stdlib.h>
#include <string.h>

#include "crypto/dsse.h"
#include "wire/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef Interlock__Common__V1__Envelope envelope;

static secret_key *fixed_key(void) {
    static secret_key *key;
    if (key == NULL) {
        simulated_chance world;
        simulated_chance_init(&world, 1);
        crypto_init();
        if (secret_key_generate(&world.chance, KEY_AGENT, &key, NULL) != STATUS_OK)
            abort();
    }
    return key;
}

/* Ed25519 is deterministic: the same payload has one signature. */
static void check_genuine(const secret_key *key, const envelope *verified, arena *memory) {
    bytes payload = bytes_of(verified->payload.data, verified->payload.len);
    envelope *again = dsse_sign(key, PAYLOAD_ACTION, payload, memory);
    if (again == NULL || memcmp(again->signatures[0]->sig.data, verified->signatures[0]->sig.data,
                                CRYPTO_SIGNATURE_BYTES) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    secret_key *key = fixed_key();
    arena memory;
    arena_init(&memory, 4096, 32U << 20);
    ProtobufCMessage *message = NULL;
    failure why;
    if (wire_unpack(&interlock__common__v1__envelope__descriptor, bytes_of(data, size), &memory, &message,
                    &why) == STATUS_OK) {
        const envelope *got = (const envelope *)message;
        if (dsse_verify(got, PAYLOAD_ACTION, secret_key_public(key)))
            check_genuine(key, got, &memory);
        ProtobufCMessage *header = NULL;
        simulated_chance world;
        simulated_chance_init(&world, 1);
        if (wire_unpack_signed(&interlock__common__v1__statement_header__descriptor,
                               bytes_of(got->payload.data, got->payload.len), &memory, &header,
                               &why) == STATUS_OK &&
            statement_header_check((const Interlock__Common__V1__StatementHeader *)header, PAYLOAD_ACTION,
                                   "house", 600000, &world.chance, &why) != STATUS_OK &&
            !utf8_valid(bytes_of_text(why.message)))
            abort();
    }
    arena_free(&memory);
    return 0;
}
