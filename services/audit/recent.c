/* A ring of packed entries. */
#include "recent.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "interlock/audit/v1/audit.pb-c.h"

#define RECORD_TAG 0x22U /* field 4, length-prefixed */
#define VARINT_MAX 10U

struct recent {
    pthread_mutex_t mutex;
    recent_entry *ring[RECENT_MAX]; /* a record is at its index modulo RECENT_MAX */
    uint64_t first, next;           /* [first, next) are here */
    size_t bytes_held;
};

status_code recent_new(recent **out, failure *why) {
    recent *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the newest records");
    pthread_mutex_init(&self->mutex, NULL);
    *out = self;
    return STATUS_OK;
}

void recent_entry_release(recent_entry *self) {
    if (self != NULL && atomic_fetch_sub(&self->references, 1) == 1)
        free(self);
}

static void drop_first(recent *self) {
    recent_entry *oldest = self->ring[self->first % RECENT_MAX];
    self->ring[self->first % RECENT_MAX] = NULL;
    self->bytes_held -= oldest->size;
    self->first++;
    recent_entry_release(oldest);
}

void recent_clear(recent *self) {
    pthread_mutex_lock(&self->mutex);
    while (self->first < self->next)
        drop_first(self);
    pthread_mutex_unlock(&self->mutex);
}

void recent_free(recent *self) {
    if (self == NULL)
        return;
    recent_clear(self);
    pthread_mutex_destroy(&self->mutex);
    free(self);
}

static size_t put_varint(uint8_t *out, size_t value) {
    size_t size = 0;
    for (; value >= 0x80; value >>= 7)
        out[size++] = (uint8_t)(value | 0x80);
    out[size++] = (uint8_t)value;
    return size;
}

static ProtobufCBinaryData binary(bytes from) {
    return (ProtobufCBinaryData){.len = from.size, .data = (uint8_t *)(uintptr_t)from.data};
}

/* The record is packed already, so only what stands before it is packed here. */
static recent_entry *entry_new(uint64_t index, bytes leaf, bytes salt, bytes record, bool of_action) {
    Interlock__Audit__V1__Entry head = INTERLOCK__AUDIT__V1__ENTRY__INIT;
    uint8_t light_length[VARINT_MAX], length[VARINT_MAX], record_length[VARINT_MAX];
    head.index = index;
    head.leaf = binary(leaf);
    head.salt = binary(salt);
    size_t head_size = interlock__audit__v1__entry__get_packed_size(&head);
    size_t record_length_size = put_varint(record_length, record.size);
    size_t light_length_size = put_varint(light_length, head_size);
    size_t length_size = put_varint(length, head_size + 1 + record_length_size + record.size);
    recent_entry *self = malloc(sizeof *self + light_length_size + length_size + 2 * head_size + 1 +
                                record_length_size + record.size);
    if (self == NULL)
        return NULL;
    atomic_init(&self->references, 1);
    self->of_action = of_action;
    self->light_size = light_length_size + head_size;
    memcpy(self->light, light_length, light_length_size);
    interlock__audit__v1__entry__pack(&head, self->light + light_length_size);
    self->field = self->light + self->light_size;
    uint8_t *at = self->field;
    memcpy(at, length, length_size);
    at += length_size;
    memcpy(at, self->light + light_length_size, head_size);
    at += head_size;
    *at++ = RECORD_TAG;
    memcpy(at, record_length, record_length_size);
    at += record_length_size;
    memcpy(at, record.data, record.size);
    self->size = (size_t)(at - self->field) + record.size;
    return self;
}

void recent_add(recent *self, uint64_t index, bytes leaf, bytes salt, bytes record, bool of_action) {
    recent_entry *entry = entry_new(index, leaf, salt, record, of_action);
    if (entry == NULL || index != self->next)
        recent_clear(self);
    pthread_mutex_lock(&self->mutex);
    if (self->first == self->next)
        self->first = self->next = index;
    while (self->first < self->next && entry != NULL &&
           (self->next - self->first >= RECENT_MAX || self->bytes_held + entry->size > RECENT_BYTES))
        drop_first(self);
    if (entry != NULL) {
        self->ring[index % RECENT_MAX] = entry;
        self->bytes_held += entry->size;
        self->next = index + 1;
    }
    pthread_mutex_unlock(&self->mutex);
}

size_t recent_take(recent *self, uint64_t index, recent_entry **out, size_t room, size_t most_bytes) {
    size_t count = 0, taken = 0;
    pthread_mutex_lock(&self->mutex);
    while (index >= self->first && index < self->next && count < room && (count == 0 || taken < most_bytes)) {
        recent_entry *entry = self->ring[index++ % RECENT_MAX];
        atomic_fetch_add(&entry->references, 1);
        taken += entry->size;
        out[count++] = entry;
    }
    pthread_mutex_unlock(&self->mutex);
    return count;
}
