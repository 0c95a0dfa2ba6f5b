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

static void books_read(books *self, const control_view *view) {
    document_unref(self->document);
    self->document = NULL;
    bytes text = bytes_of(view->policy->document.data, view->policy->document.len);
    self->unreadable = document_parse(text, &self->document, NULL) != STATUS_OK;
    memcpy(self->digest, view->policy_digest, sizeof self->digest);
}

policy_document *books_acquire(books *self, const control_view *view, bool *unreadable) {
    *unreadable = false;
    if (view->policy == NULL)
        return NULL;
    pthread_mutex_lock(&self->lock);
    if (strcmp(self->digest, view->policy_digest) != 0)
        books_read(self, view);
    *unreadable = self->unreadable;
    policy_document *document = self->document == NULL ? NULL : document_ref(self->document);
    pthread_mutex_unlock(&self->lock);
    return document;
}
