/* Building etcd's requests by hand (each field's name in one place) and reading its answers with jansson. */
#include "etcd_wire.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- Building -------------------------------------------------------------------------------- */

static void put_bytes(buffer *out, const char *name, bytes value) {
    buffer_format(out, "\"%s\":\"", name);
    base64_encode(value, out);
    buffer_text(out, "\"");
}

static void put_number(buffer *out, const char *name, int64_t value) {
    buffer_format(out, "\"%s\":\"%" PRId64 "\"", name, value);
}

static void put_keys(buffer *out, bytes start, bytes end) {
    put_bytes(out, "key", start);
    if (end.size == 0)
        return;
    buffer_text(out, ",");
    put_bytes(out, "range_end", end);
}

void etcd_wire_range(buffer *out, bytes start, bytes end) {
    buffer_text(out, "{");
    put_keys(out, start, end);
    buffer_text(out, ",");
    put_number(out, "limit", COORD_RANGE_MAX);
    buffer_text(out, "}");
}

void etcd_wire_probe(buffer *out, bytes key) {
    buffer_text(out, "{");
    put_bytes(out, "key", key);
    buffer_text(out, ",\"keys_only\":true}");
}

/* The one place that names a compare's fields: etcd ignores a field that it does not know, and then compares
 * with 0. */
static void put_compare(buffer *out, bytes key, coord_compare_target target, int64_t number, bytes value) {
    static const struct {
        const char *target, *field;
    } names[] = {
        [COORD_VERSION] = {"VERSION", "version"},
        [COORD_MOD_REVISION] = {"MOD", "mod_revision"},
        [COORD_CREATE_REVISION] = {"CREATE", "create_revision"},
        [COORD_VALUE] = {"VALUE", "value"},
    };
    buffer_text(out, "{");
    put_bytes(out, "key", key);
    buffer_format(out, ",\"result\":\"EQUAL\",\"target\":\"%s\",", names[target].target);
    if (target == COORD_VALUE)
        put_bytes(out, names[target].field, value);
    else
        put_number(out, names[target].field, number);
    buffer_text(out, "}");
}

static void put_put(buffer *out, bytes key, bytes value, int64_t lease) {
    buffer_text(out, "{\"request_put\":{");
    put_bytes(out, "key", key);
    buffer_text(out, ",");
    put_bytes(out, "value", value);
    if (lease != 0) {
        buffer_text(out, ",");
        put_number(out, "lease", lease);
    }
    buffer_text(out, "}}");
}

static void put_delete(buffer *out, bytes key) {
    buffer_text(out, "{\"request_delete_range\":{");
    put_bytes(out, "key", key);
    buffer_text(out, "}}");
}

/* `{"compare":[{the operation's key does not exist}` */
static void begin_operation(buffer *out, bytes operation) {
    buffer_text(out, "{\"compare\":[");
    put_compare(out, operation, COORD_VERSION, 0, bytes_of(NULL, 0));
}

static void end_operation(buffer *out, bytes operation, const char *word, int64_t lease) {
    put_put(out, operation, bytes_of_text(word), lease);
    buffer_text(out, "],\"failure\":[{\"request_range\":{");
    put_bytes(out, "key", operation);
    buffer_text(out, "}}]}");
}

void etcd_wire_txn(buffer *out, const coord_request *request, bytes operation, int64_t operation_lease) {
    begin_operation(out, operation);
    for (size_t i = 0; i < request->compare_count; i++) {
        const coord_compare *each = &request->compares[i];
        buffer_text(out, ",");
        put_compare(out, bytes_of_text(each->key), each->target, each->number, each->value);
    }
    buffer_text(out, "],\"success\":[");
    for (size_t i = 0; i < request->op_count; i++) {
        const coord_op *each = &request->ops[i];
        if (each->kind == COORD_PUT)
            put_put(out, bytes_of_text(each->key), each->value, each->lease);
        else
            put_delete(out, bytes_of_text(each->key));
        buffer_text(out, ",");
    }
    end_operation(out, operation, "done", operation_lease);
}

void etcd_wire_fence(buffer *out, bytes operation, int64_t operation_lease) {
    begin_operation(out, operation);
    buffer_text(out, "],\"success\":[");
    end_operation(out, operation, "void", operation_lease);
}

void etcd_wire_grant(buffer *out, uint32_t ttl_s) {
    buffer_text(out, "{");
    put_number(out, "TTL", ttl_s);
    buffer_text(out, "}");
}

void etcd_wire_lease(buffer *out, int64_t lease) {
    buffer_text(out, "{");
    put_number(out, "ID", lease);
    buffer_text(out, "}");
}

void etcd_wire_watch(buffer *out, bytes start, bytes end, int64_t from) {
    buffer_text(out, "{\"create_request\":{");
    put_keys(out, start, end);
    if (from != 0) {
        buffer_text(out, ",");
        put_number(out, "start_revision", from);
    }
    buffer_text(out, ",\"progress_notify\":true,\"fragment\":true}}");
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* Each getter answers false for a value of the wrong kind, and leaves `out` as it is for an absent one. */
static bool get_number(const json_t *object, const char *name, int64_t *out) {
    const json_t *value = json_object_get(object, name);
    if (value == NULL)
        return true;
    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return true;
    }
    const char *text = json_string_value(value);
    if (text == NULL || *text == '\0' || strlen(text) > 20 ||
        strspn(text + (*text == '-'), "0123456789") != strlen(text) - (*text == '-'))
        return false;
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text)
        return false;
    *out = number;
    return true;
}

static bool get_flag(const json_t *object, const char *name, bool *out) {
    const json_t *value = json_object_get(object, name);
    if (value != NULL && !json_is_boolean(value))
        return false;
    if (value != NULL)
        *out = json_is_true(value);
    return true;
}

static bool get_bytes(const json_t *object, const char *name, arena *memory, bytes *out) {
    const json_t *value = json_object_get(object, name);
    *out = bytes_of(NULL, 0);
    if (value == NULL)
        return true;
    if (!json_is_string(value))
        return false;
    bytes text = bytes_of(json_string_value(value), json_string_length(value));
    size_t size = text.size / 4 * 3;
    uint8_t *data = arena_alloc(memory, size + 1);
    if (data == NULL || !base64_decode(text, data, &size))
        return false;
    data[size] = '\0';
    *out = bytes_of(data, size);
    return true;
}

/* A key that nobody wrote through coordination may hold a NUL; then it reads as far as that. */
static bool get_kv(const json_t *object, arena *memory, coord_kv *out) {
    bytes key;
    if (!json_is_object(object) || !get_bytes(object, "key", memory, &key) || key.size == 0 ||
        !get_bytes(object, "value", memory, &out->value))
        return false;
    out->key = (const char *)key.data;
    return get_number(object, "create_revision", &out->create_revision) &&
           get_number(object, "mod_revision", &out->mod_revision) &&
           get_number(object, "version", &out->version) && get_number(object, "lease", &out->lease);
}

static bool get_kvs(const json_t *object, arena *memory, etcd_answer *out) {
    const json_t *list = json_object_get(object, "kvs");
    if (list == NULL)
        return true;
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > COORD_RANGE_MAX)
        return false;
    out->kvs = arena_zero(memory, count + 1, sizeof *out->kvs);
    for (size_t i = 0; out->kvs != NULL && i < count; i++)
        if (!get_kv(json_array_get(list, i), memory, &out->kvs[i]))
            return false;
    out->count = count;
    return out->kvs != NULL;
}

static bool get_revision(const json_t *object, int64_t *out) {
    const json_t *header = json_object_get(object, "header");
    return header == NULL || (json_is_object(header) && get_number(header, "revision", out));
}

/* The read that a transaction does when its compares do not hold is its only answer with keys. */
static bool get_responses(const json_t *object, arena *memory, etcd_answer *out) {
    const json_t *list = json_object_get(object, "responses");
    const json_t *range = json_object_get(json_array_get(list, 0), "response_range");
    if (list != NULL && !json_is_array(list))
        return false;
    return range == NULL || get_kvs(range, memory, out);
}

static bool get_answer(const json_t *root, arena *memory, etcd_answer *out) {
    /* A stream's answer (keepalive) is wrapped. */
    const json_t *result = json_object_get(root, "result");
    const json_t *object = result == NULL ? root : result;
    return json_is_object(object) && get_revision(object, &out->revision) &&
           get_flag(object, "succeeded", &out->succeeded) && get_flag(object, "more", &out->more) &&
           get_number(object, "ID", &out->lease) && get_number(object, "TTL", &out->ttl_s) &&
           get_kvs(object, memory, out) && get_responses(object, memory, out) && out->revision >= 1;
}

static json_t *load(bytes text) {
    json_error_t error;
    return json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &error);
}

static status_code bad_answer(failure *why) {
    return fail(why, STATUS_INTERNAL, "BAD_ANSWER",
                "etcd's answer is not what etcd says; is this an etcd 3.4 or later?");
}

status_code etcd_wire_answer(bytes json, arena *memory, etcd_answer *out, failure *why) {
    etcd_answer answer = {0};
    json_t *root = load(json);
    bool good = root != NULL && get_answer(root, memory, &answer);
    json_decref(root);
    if (!good)
        return bad_answer(why);
    *out = answer;
    return STATUS_OK;
}

/* Codes after which the request may have had an effect, or may still have one. */
static bool code_is_definite(int64_t code) {
    switch (code) {
    case STATUS_CANCELLED:
    case STATUS_UNKNOWN:
    case STATUS_DEADLINE_EXCEEDED:
    case STATUS_ABORTED:
    case STATUS_INTERNAL:
    case STATUS_UNAVAILABLE:
    case STATUS_DATA_LOSS:
        return false;
    default:
        return true;
    }
}

status_code etcd_wire_error(int http_status, bytes json, bool *definite, failure *why) {
    json_t *root = load(json);
    const json_t *wrapped = json_object_get(root, "error");
    const json_t *object = json_is_object(wrapped) ? wrapped : root;
    const char *message = json_string_value(json_object_get(object, "message"));
    int64_t code = 0;
    if (!get_number(object, "code", &code) || !get_number(object, "grpc_code", &code) || code < 1 ||
        code > 16)
        code = STATUS_UNAVAILABLE;
    *definite = code_is_definite(code);
    const char *reason = code == STATUS_NOT_FOUND ? "LEASE_NOT_FOUND" : "ETCD_REFUSED";
    status_code status = fail(why, (status_code)code, reason, "etcd: %.400s (HTTP %d)",
                              message == NULL ? "no message" : message, http_status);
    json_decref(root);
    return status;
}

static bool get_event(const json_t *object, arena *memory, coord_event *out) {
    const char *type = json_string_value(json_object_get(object, "type"));
    if (!get_kv(json_object_get(object, "kv"), memory, &out->kv))
        return false;
    out->deleted = type != NULL && strcmp(type, "DELETE") == 0;
    return type == NULL || out->deleted || strcmp(type, "PUT") == 0;
}

static bool get_events(const json_t *object, arena *memory, etcd_watch_answer *out) {
    const json_t *list = json_object_get(object, "events");
    if (list == NULL)
        return true;
    size_t count = json_array_size(list);
    out->events = json_is_array(list) ? arena_zero(memory, count + 1, sizeof *out->events) : NULL;
    for (size_t i = 0; out->events != NULL && i < count; i++)
        if (!get_event(json_array_get(list, i), memory, &out->events[i]))
            return false;
    out->count = count;
    return out->events != NULL;
}

static bool get_watch_answer(const json_t *root, arena *memory, etcd_watch_answer *out) {
    const json_t *object = json_object_get(root, "result");
    return json_is_object(object) && get_revision(object, &out->revision) &&
           get_flag(object, "created", &out->created) && get_flag(object, "canceled", &out->cancelled) &&
           get_flag(object, "fragment", &out->fragment) &&
           get_number(object, "compact_revision", &out->compact_revision) && get_events(object, memory, out);
}

status_code etcd_wire_watch_answer(bytes line, arena *memory, etcd_watch_answer *out, failure *why) {
    etcd_watch_answer answer = {0};
    json_t *root = load(line);
    bool good = root != NULL && get_watch_answer(root, memory, &answer);
    json_decref(root);
    if (!good)
        return bad_answer(why);
    *out = answer;
    return STATUS_OK;
}
