/* The bounded queue in front of a stream. */
#include "outbox.h"

#include <stdlib.h>

#include "message.h"

struct outbox_item {
    outbox_item *next;
    grpc_byte_buffer *wire;
    size_t size;
};

void outbox_init(outbox *self) {
    *self = (outbox){0};
    pthread_mutex_init(&self->mutex, NULL);
}

void outbox_free(outbox *self) {
    outbox_drop(self);
    pthread_mutex_destroy(&self->mutex);
}

static bool claim_call(outbox *self) {
    bool first = !self->called;
    self->called = true;
    return first;
}

static status_code append(outbox *self, outbox_item *item, bool *call) {
    status_code code = STATUS_OK;
    pthread_mutex_lock(&self->mutex);
    if (self->closed) {
        code = STATUS_CANCELLED;
    } else if (self->count >= OUTBOX_MESSAGES_MAX || self->size + item->size > OUTBOX_BYTES_MAX) {
        code = STATUS_RESOURCE_EXHAUSTED;
    } else {
        if (self->last == NULL)
            self->first = item;
        else
            self->last->next = item;
        self->last = item;
        self->count++;
        self->size += item->size;
        *call = claim_call(self);
    }
    pthread_mutex_unlock(&self->mutex);
    return code;
}

status_code outbox_put(outbox *self, const ProtobufCMessage *message, bool *call) {
    *call = false;
    outbox_item *item = calloc(1, sizeof *item);
    if (item == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    item->wire = message_write(message, OUTBOX_BYTES_MAX, &item->size);
    status_code code = item->wire == NULL ? STATUS_RESOURCE_EXHAUSTED : append(self, item, call);
    if (code != STATUS_OK) {
        if (item->wire != NULL)
            grpc_byte_buffer_destroy(item->wire);
        free(item);
    }
    return code;
}

grpc_byte_buffer *outbox_take(outbox *self, bool *more) {
    pthread_mutex_lock(&self->mutex);
    outbox_item *item = self->first;
    if (item != NULL) {
        self->first = item->next;
        if (self->first == NULL)
            self->last = NULL;
        self->count--;
        self->size -= item->size;
    }
    *more = self->first != NULL;
    pthread_mutex_unlock(&self->mutex);
    grpc_byte_buffer *wire = item != NULL ? item->wire : NULL;
    free(item);
    return wire;
}

size_t outbox_count(const outbox *self) {
    pthread_mutex_t *mutex = (pthread_mutex_t *)(uintptr_t)&self->mutex;
    pthread_mutex_lock(mutex);
    size_t count = self->count;
    pthread_mutex_unlock(mutex);
    return count;
}

bool outbox_close(outbox *self, bool *call) {
    pthread_mutex_lock(&self->mutex);
    bool open = !self->closed;
    self->closed = true;
    *call = open && claim_call(self);
    pthread_mutex_unlock(&self->mutex);
    return open;
}

void outbox_drop(outbox *self) {
    pthread_mutex_lock(&self->mutex);
    self->closed = true;
    outbox_item *item = self->first;
    self->first = self->last = NULL;
    self->count = self->size = 0;
    pthread_mutex_unlock(&self->mutex);
    while (item != NULL) {
        outbox_item *next = item->next;
        grpc_byte_buffer_destroy(item->wire);
        free(item);
        item = next;
    }
}

void outbox_answer(outbox *self) {
    pthread_mutex_lock(&self->mutex);
    self->called = false;
    pthread_mutex_unlock(&self->mutex);
}

bool outbox_call(outbox *self) {
    pthread_mutex_lock(&self->mutex);
    bool first = claim_call(self);
    pthread_mutex_unlock(&self->mutex);
    return first;
}

bool outbox_called(outbox *self) {
    pthread_mutex_lock(&self->mutex);
    bool called = self->called;
    pthread_mutex_unlock(&self->mutex);
    return called;
}
