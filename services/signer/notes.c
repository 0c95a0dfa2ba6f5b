/* The checkpoints that were verified last. Only what verified is kept, under its digest, so that nobody can
 * put another tree behind a note. */
#include "notes.h"

#include <string.h>

void notes_init(notes *self, const trust *roots) {
    *self = (notes){.roots = roots};
    pthread_mutex_init(&self->lock, NULL);
}

void notes_free(notes *self) {
    pthread_mutex_destroy(&self->lock);
}

static bool find(notes *self, const uint8_t digest[CRYPTO_HASH_BYTES], checkpoint *out) {
    bool found = false;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < self->count && !found; i++) {
        /* Newest first: the records of a group commit come together. */
        const notes_entry *entry = &self->kept[(self->next + NOTES_KEPT - 1 - i) % NOTES_KEPT];
        found = memcmp(entry->digest, digest, CRYPTO_HASH_BYTES) == 0;
        if (found)
            *out = entry->tree;
    }
    pthread_mutex_unlock(&self->lock);
    return found;
}

static void keep(notes *self, const uint8_t digest[CRYPTO_HASH_BYTES], const checkpoint *tree) {
    pthread_mutex_lock(&self->lock);
    notes_entry *entry = &self->kept[self->next];
    memcpy(entry->digest, digest, CRYPTO_HASH_BYTES);
    entry->tree = *tree;
    self->next = (self->next + 1) % NOTES_KEPT;
    self->count += self->count < NOTES_KEPT ? 1 : 0;
    self->verified++;
    pthread_mutex_unlock(&self->lock);
}

static bool verify(const trust *roots, bytes note, checkpoint *out) {
    for (size_t i = 0; i < roots->count; i++)
        if (roots->keys[i].purpose == KEY_CHECKPOINT &&
            checkpoint_verify(note, roots->origin, &roots->keys[i].key, out, NULL) == STATUS_OK)
            return true;
    return false;
}

status_code notes_verify(notes *self, bytes note, checkpoint *out, failure *why) {
    uint8_t digest[CRYPTO_HASH_BYTES];
    if (note.size == 0 || note.size > NOTE_MAX_BYTES)
        return fail(why, STATUS_PERMISSION_DENIED, "CHECKPOINT",
                    "a receipt has a checkpoint of 1 to %u bytes", NOTE_MAX_BYTES);
    sha256(note, digest);
    if (find(self, digest, out))
        return STATUS_OK;
    checkpoint tree;
    if (!verify(self->roots, note, &tree))
        return fail(why, STATUS_PERMISSION_DENIED, "CHECKPOINT",
                    "the checkpoint is not one of this log, signed by its key");
    keep(self, digest, &tree);
    *out = tree;
    return STATUS_OK;
}

uint64_t notes_verified(notes *self) {
    pthread_mutex_lock(&self->lock);
    uint64_t verified = self->verified;
    pthread_mutex_unlock(&self->lock);
    return verified;
}
