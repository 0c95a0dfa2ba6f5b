/* Any bytes as a token. The key is known to the target alone, so what verifies must be a token that this key
 * signed, in the one spelling it has. */
#include <stdlib.h>

#include "crypto/jws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static secret_key *fixed_key(void) {
    static secret_key *key;
    if (key == NULL) {
        simulated_chance world;
        simulated_chance_init(&world, 1);
        crypto_init();
        if (secret_key_generate(&world.chance, KEY_PERMIT, &key, NULL) != STATUS_OK)
            abort();
    }
    return key;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    secret_key *key = fixed_key();
    buffer claims;
    buffer again;
    buffer_init(&claims, 1U << 16);
    buffer_init(&again, 1U << 16);
    failure why;
    bytes token = bytes_of(data, size);
    if (jws_verify(secret_key_public(key), JWS_PERMIT_TYPE, token, &claims, &why) == STATUS_OK &&
        (jws_sign(key, JWS_PERMIT_TYPE, buffer_bytes(&claims), &again, &why) != STATUS_OK ||
         !bytes_equal(buffer_bytes(&again), token)))
        abort();
    buffer_free(&claims);
    buffer_free(&again);
    return 0;
}
