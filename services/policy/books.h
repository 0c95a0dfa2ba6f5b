/* The policy set that is in force, parsed once a version and shared. Thread-safe; the lock is held for a
 * compare and a count, except by the one who parses. */
#ifndef POLICY_BOOKS_H
#define POLICY_BOOKS_H

#include <pthread.h>

#include "control/control.h"
#include "document.h"

typedef struct books {
    pthread_mutex_t lock; /* over everything here */
    char digest[2 * CRYPTO_HASH_BYTES + 1];
    policy_document *document;
    bool unreadable;
} books;

void books_init(books *self);
void books_free(books *self);

/* The view's document, to be let go with document_unref. NULL when none is set, or when it cannot be read
 * (*unreadable). */
policy_document *books_acquire(books *self, const control_view *view, bool *unreadable);

#endif
