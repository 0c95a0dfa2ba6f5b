/* Any bytes as a checkpoint. What verifies must say what the key signed: signing it again gives a note that
 * verifies to the same tree. */
#include <stdlib.h>
#include <string.h>

#include "merkle/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static secret_key *fixed_key(void) {
    static secret_key *key;
    if (key == NULL) {
        simulated_chance world;
        simulated_chance_init(&world, 1);
        crypto_init();
        if (secret_key_generate(&world.chance, KEY_CHECKPOINT, &key, NULL) != STATUS_OK)
            abort();
    }
    return key;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char origin[] = "audit.example/house";
    secret_key *key = fixed_key();
    checkpoint got;
    checkpoint again;
    failure why;
    bytes note = bytes_of(data, size);
    if (checkpoint_verify(note, origin, secret_key_public(key), &got, &why) != STATUS_OK) {
        if (!utf8_valid(bytes_of_text(why.message)))
            abort();
        return 0;
    }
    buffer text;
    buffer_init(&text, NOTE_MAX_BYTES);
    if (checkpoint_sign(&got, key, &text, &why) != STATUS_OK ||
        checkpoint_verify(buffer_bytes(&text), origin, secret_key_public(key), &again, &why) != STATUS_OK ||
        again.size != got.size || memcmp(&again.root, &got.root, sizeof got.root) != 0)
        abort();
    buffer_free(&text);
    return 0;
}
