/* See books.h. */
#include "books.h"

#include <string.h>

void books_init(books *self) {
    *self = (books){0};
    pthread_mutex_init(&self->lock, NULL);
}

void books_free(books *self) {
    document_unref(self->document);
    pthread_mutex_destroy(&self->lock);
}

static void books_read(books *self, const Interlock__Control__V1__PolicySet *statement, const char *digest) {
    document_unref(self->document);
    self->document = NULL;
    self->unreadable = document_read(statement, &self->document, NULL) != STATUS_OK;
    self->version = statement->version;
    memcpy(self->digest, digest, sizeof self->digest);
}

policy_document *books_acquire(books *self, const Interlock__Control__V1__PolicySet *statement,
                               const char *digest, bool *unreadable) {
    *unreadable = false;
    if (statement == NULL || statement->document.len == 0)
        return NULL;
    pthread_mutex_lock(&self->lock);
    if (self->version != statement->version || strcmp(self->digest, digest) != 0)
        books_read(self, statement, digest);
    *unreadable = self->unreadable;
    policy_document *document = self->document == NULL ? NULL : document_ref(self->document);
    pthread_mutex_unlock(&self->lock);
    return document;
}
