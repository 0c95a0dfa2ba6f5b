/* Checkpoints whose signature was verified, kept so that the one verification of a group commit serves every
 * record in it. Thread-safe. */
#ifndef SIGNER_NOTES_H
#define SIGNER_NOTES_H

#include <pthread.h>

#include "control/trust.h"
#include "merkle/note.h"

#define NOTES_KEPT 64U

typedef struct notes_entry {
    uint8_t digest[CRYPTO_HASH_BYTES]; /* SHA-256 of the note */
    checkpoint tree;
} notes_entry;

typedef struct notes {
    const trust *roots;
    pthread_mutex_t lock; /* guards the rest; never held while a signature is verified */
    notes_entry kept[NOTES_KEPT];
    size_t count, next; /* the oldest is replaced */
    uint64_t verified;  /* signatures verified so far */
} notes;

void notes_init(notes *self, const trust *roots);
void notes_free(notes *self);

/* The tree of a note that one of the trust's checkpoint keys signed for its origin. PERMISSION_DENIED, reason
 * CHECKPOINT. */
status_code notes_verify(notes *self, bytes note, checkpoint *out, failure *why) MUST_USE;
uint64_t notes_verified(notes *self);

#endif
