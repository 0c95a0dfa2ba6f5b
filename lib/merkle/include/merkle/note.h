/* Checkpoints as C2SP signed notes (c2sp.org/signed-note, c2sp.org/tlog-checkpoint): text that people can
 * read and foreign tools verify. Pure; thread-safe. */
#ifndef MERKLE_NOTE_H
#define MERKLE_NOTE_H

#include "crypto/crypto.h"
#include "merkle/tree.h"

#define NOTE_MAX_BYTES 4096U

typedef struct checkpoint {
    char origin[128]; /* the log's name, also the name of its key in the signature line */
    uint64_t size;
    merkle_hash root;
} checkpoint;

/* "origin\nsize\nbase64(root)\n" + "\n— origin base64(keyhash4 || signature)\n". The key hash is the first 4
 * bytes of SHA-256(name || "\n" || 0x01 || public key). */
status_code checkpoint_sign(const checkpoint *self, const secret_key *key, buffer *note,
                            failure *why) MUST_USE;

/* Checks the form, that one signature line is the log's own (others, of witnesses, are ignored) and its
 * signature. */
status_code checkpoint_verify(bytes note, const char *origin, const public_key *key, checkpoint *out,
                              failure *why) MUST_USE;

/* The verifier key as golang.org/x/mod/sumdb/note reads it: "name+hash8hex+base64(0x01 || public key)". */
void note_verifier_key(const char *origin, const public_key *key, buffer *out);

#endif
