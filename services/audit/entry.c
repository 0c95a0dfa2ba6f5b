/* Sealing records, and reading them back. */
#include "entry.h"

#include <string.h>

#include "wire/scan.h"

typedef struct seal_context {
    uint8_t text[24];
} seal_context;

/* Binds a body to its place, so that two bodies cannot be exchanged together with their keys unnoticed. */
static seal_context context_of(uint64_t index) {
    seal_context context = {.text = "interlock-body"};
    for (size_t i = 0; i < 8; i++)
        context.text[16 + i] = (uint8_t)(index >> (56 - 8 * i));
    return context;
}

void record_seal(const uint8_t key[CRYPTO_SECRET_BYTES], uint64_t index, bytes record, const chance *source,
                 uint8_t *out) {
    seal_context context = context_of(index);
    crypto_seal(key, record, bytes_of(context.text, sizeof context.text), source, out);
}

static status_code damaged(uint64_t index, const char *what, failure *why) {
    return fail(why, STATUS_DATA_LOSS, "BODY_DAMAGED",
                "the record at index %llu %s; run `interlock audit verify` and restore it from a backup",
                (unsigned long long)index, what);
}

static status_code open_sealed(uint64_t index, bytes sealed, bytes key, arena *memory, bytes *plain,
                               failure *why) {
    if (key.size != CRYPTO_SECRET_BYTES || sealed.size < CRYPTO_SEAL_OVERHEAD)
        return damaged(index, "lacks its key or its body", why);
    seal_context context = context_of(index);
    size_t size = sealed.size - CRYPTO_SEAL_OVERHEAD;
    uint8_t *out = arena_alloc(memory, size + 1);
    if (out == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to open a record; ask for less");
    if (!crypto_open(key.data, sealed, bytes_of(context.text, sizeof context.text), out))
        return damaged(index, "does not open with its key", why);
    *plain = bytes_of(out, size);
    return STATUS_OK;
}

status_code record_open(audit_store *from, uint64_t index, arena *memory,
                        Interlock__Common__V1__Envelope **out, bytes *salt, failure *why) {
    bytes sealed, key, read_salt, plain;
    status_code status = audit_store_read_body(from, index, memory, &sealed, &key, &read_salt, why);
    if (status != STATUS_OK)
        return status;
    if (sealed.size == 0 && key.size == 0) {
        *out = NULL;
        *salt = (bytes){0};
        return STATUS_OK;
    }
    if ((status = open_sealed(index, sealed, key, memory, &plain, why)) != STATUS_OK)
        return status;
    ProtobufCMessage *message = NULL;
    failure inner = {0};
    status = wire_unpack(&interlock__common__v1__envelope__descriptor, plain, memory, &message, &inner);
    if (status == STATUS_RESOURCE_EXHAUSTED)
        return fail(why, status, "NO_MEMORY", "no memory to open a record; ask for less");
    if (status != STATUS_OK)
        return damaged(index, "is not an envelope", why);
    *out = (Interlock__Common__V1__Envelope *)message;
    *salt = read_salt;
    return STATUS_OK;
}

static ProtobufCBinaryData binary(bytes from) {
    return (ProtobufCBinaryData){.len = from.size, .data = (uint8_t *)(uintptr_t)from.data};
}

status_code entry_read(audit_store *from, uint64_t index, arena *memory, Interlock__Audit__V1__Entry **out,
                       failure *why) {
    bytes leaf = {0}, salt = {0};
    Interlock__Common__V1__Envelope *record = NULL;
    status_code status = audit_store_read_leaf(from, index, memory, &leaf, NULL, why);
    if (status == STATUS_OK)
        status = record_open(from, index, memory, &record, &salt, why);
    if (status != STATUS_OK)
        return status;
    Interlock__Audit__V1__Entry *entry = arena_alloc(memory, sizeof *entry);
    if (entry == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to read a record; ask for less");
    interlock__audit__v1__entry__init(entry);
    entry->index = index;
    entry->leaf = binary(leaf);
    entry->salt = binary(salt);
    entry->record = record;
    *out = entry;
    return STATUS_OK;
}

size_t entry_size(const Interlock__Audit__V1__Entry *entry) {
    size_t record =
        entry->record == NULL ? 0 : interlock__common__v1__envelope__get_packed_size(entry->record);
    return 48 + entry->leaf.len + entry->salt.len + record;
}
