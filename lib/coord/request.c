/* Requests as they are queued: checked against the bounds, and copied with the prefix before their keys. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

const failure coord_no_memory = {.code = STATUS_RESOURCE_EXHAUSTED,
                                 .reason = "NO_MEMORY",
                                 .message = "no memory for a request to coordination"};

/* ---- Keys ------------------------------------------------------------------------------------ */

bool coord_key_valid(const char *key, bool may_be_empty) {
    size_t size = key == NULL ? 0 : strnlen(key, COORD_KEY_BYTES + 1);
    if (key == NULL || size > COORD_KEY_BYTES || (size == 0 && !may_be_empty) ||
        strncmp(key, COORD_RESERVED, strlen(COORD_RESERVED)) == 0)
        return false;
    return utf8_valid(bytes_of(key, size));
}

bytes coord_key_stored(arena *memory, const char *prefix, const char *key) {
    size_t prefix_size = strlen(prefix), size = strlen(key);
    char *stored = arena_alloc(memory, prefix_size + size + 1);
    if (stored == NULL)
        return bytes_of(NULL, 0);
    memcpy(stored, prefix, prefix_size);
    memcpy(stored + prefix_size, key, size);
    stored[prefix_size + size] = '\0';
    return bytes_of(stored, prefix_size + size);
}

/* The first key after all that start with `start`. UTF-8 knows no 0xff, so that the last byte can always
 * rise. */
bytes coord_prefix_end(arena *memory, bytes start) {
    uint8_t *end = arena_copy(memory, start.data, start.size);
    if (end == NULL)
        return bytes_of(NULL, 0);
    end[start.size - 1]++;
    return bytes_of(end, start.size);
}

/* ---- Refusing -------------------------------------------------------------------------------- */

void coord_request_free(coord_request *self) {
    arena_free(&self->memory);
    free(self);
}

void coord_request_refuse(coord_request *self, const char *reason, const char *message) {
    self->kind = COORD_REQUEST_REFUSED;
    fail(&self->why, STATUS_INVALID_ARGUMENT, reason, "%s", message);
}

static void refuse_memory(coord_request *self) {
    self->kind = COORD_REQUEST_REFUSED;
    self->why = coord_no_memory;
}

/* ---- A get ----------------------------------------------------------------------------------- */

void coord_request_get(coord_request *self, const char *prefix, const char *key, bool many) {
    if (!coord_key_valid(key, many)) {
        coord_request_refuse(self, "BAD_KEY", "a key is text of 1 to 256 bytes that does not begin with ~");
        return;
    }
    self->start = coord_key_stored(&self->memory, prefix, key);
    if (many && self->start.data != NULL)
        self->end = coord_prefix_end(&self->memory, self->start);
    if (self->start.data == NULL || (many && self->end.data == NULL))
        refuse_memory(self);
}

/* ---- A transaction --------------------------------------------------------------------------- */

static const char *check_compares(const coord_compare *compares, size_t count, size_t *size) {
    for (size_t i = 0; i < count; i++) {
        if (!coord_key_valid(compares[i].key, false))
            return "a compare's key is text of 1 to 256 bytes that does not begin with ~";
        if ((unsigned)compares[i].target > COORD_VALUE)
            return "a compare needs a known target";
        if (compares[i].target == COORD_VALUE && compares[i].value.size > COORD_VALUE_BYTES)
            return "a compare's value has at most 1 MiB";
        *size += strlen(compares[i].key) + (compares[i].target == COORD_VALUE ? compares[i].value.size : 0);
    }
    return NULL;
}

static const char *check_ops(const coord_op *ops, size_t count, size_t *size) {
    for (size_t i = 0; i < count; i++) {
        if (!coord_key_valid(ops[i].key, false))
            return "an operation's key is text of 1 to 256 bytes that does not begin with ~";
        if (ops[i].kind != COORD_PUT && ops[i].kind != COORD_DELETE)
            return "an operation is a put or a delete";
        if (ops[i].value.size > COORD_VALUE_BYTES)
            return "a value has at most 1 MiB";
        if (ops[i].lease < 0)
            return "a lease is a positive number";
        for (size_t other = 0; other < i; other++)
            if (strcmp(ops[i].key, ops[other].key) == 0)
                return "a key may occur once among a transaction's operations";
        *size += strlen(ops[i].key) + ops[i].value.size;
    }
    return NULL;
}

static const char *check_txn(const coord_compare *compares, size_t compare_count, const coord_op *ops,
                             size_t op_count) {
    if (op_count < 1 || op_count > COORD_TXN_OPS || compare_count > COORD_TXN_OPS)
        return "a transaction has 1 to 16 operations and at most 16 compares";
    size_t size = 0;
    const char *wrong = check_compares(compares, compare_count, &size);
    if (wrong == NULL)
        wrong = check_ops(ops, op_count, &size);
    if (wrong == NULL && size > COORD_TXN_BYTES)
        wrong = "the keys and values of a transaction have at most 1.25 MiB together";
    return wrong;
}

static bool value_copy(arena *memory, bytes *value) {
    if (value->size == 0) {
        *value = bytes_of(NULL, 0);
        return true;
    }
    value->data = arena_copy(memory, value->data, value->size);
    return value->data != NULL;
}

static bool txn_copy(coord_request *request, const char *prefix, const coord_compare *compares,
                     const coord_op *ops) {
    arena *memory = &request->memory;
    request->compares = arena_zero(memory, request->compare_count + 1, sizeof *compares);
    request->ops = arena_zero(memory, request->op_count, sizeof *ops);
    if (request->compares == NULL || request->ops == NULL)
        return false;
    for (size_t i = 0; i < request->compare_count; i++) {
        coord_compare *copy = &request->compares[i];
        *copy = compares[i];
        copy->key = (const char *)coord_key_stored(memory, prefix, compares[i].key).data;
        if (copy->key == NULL || (copy->target == COORD_VALUE && !value_copy(memory, &copy->value)))
            return false;
    }
    for (size_t i = 0; i < request->op_count; i++) {
        coord_op *copy = &request->ops[i];
        *copy = ops[i];
        copy->key = (const char *)coord_key_stored(memory, prefix, ops[i].key).data;
        if (copy->key == NULL || !value_copy(memory, &copy->value))
            return false;
    }
    return true;
}

void coord_request_txn(coord_request *self, const char *prefix, const coord_compare *compares,
                       size_t compare_count, const coord_op *ops, size_t op_count) {
    const char *wrong = check_txn(compares, compare_count, ops, op_count);
    self->compare_count = compare_count;
    self->op_count = op_count;
    if (wrong != NULL)
        coord_request_refuse(self, "BAD_TRANSACTION", wrong);
    else if (!txn_copy(self, prefix, compares, ops))
        refuse_memory(self);
}
