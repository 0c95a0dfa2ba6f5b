/* A policy set that stands in the control data - the one in force, the shadow - read once a version and
 * shared. Thread-safe; the lock is held for a compare and a count, except by the one who reads. A decision
 * holds what it acquired to its end, so that another set coming into force neither mixes with it nor drops
 * it. */
#ifndef POLICY_BOOKS_H
#define POLICY_BOOKS_H

#include <pthread.h>

#include "control/control.h"
#include "document.h"

typedef struct books {
    pthread_mutex_t lock; /* over everything here */
    char digest[2 * CRYPTO_HASH_BYTES + 1];
    uint64_t version;
    policy_document *document;
    bool unreadable;
} books;

void books_init(books *self);
void books_free(books *self);

/* The statement's document, to be let go with document_unref. NULL when there is no statement, or one without
 * a document, or when it cannot be read (*unreadable). */
policy_document *books_acquire(books *self, const Interlock__Control__V1__PolicySet *statement,
                               const char *digest, bool *unreadable);

#endif
