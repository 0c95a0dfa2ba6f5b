/* A failure becomes a google.rpc.Status and comes back as a failure. */
#include "detail.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <grpc/slice.h>

#include "base/limits.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "wire/scan.h"

#define TYPE_PREFIX "type.googleapis.com/"
#define REASONS_MAX 256U
#define REASON_BYTES_MAX 63U

/* ---- reasons that outlive a message ---- */

static struct {
    pthread_mutex_t mutex;
    size_t count;
    char texts[REASONS_MAX][REASON_BYTES_MAX + 1];
} reasons = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static bool reason_valid(bytes text) {
    if (text.size == 0 || text.size > REASON_BYTES_MAX)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        char c = (char)text.data[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'))
            return false;
    }
    return true;
}

const char *reason_intern(bytes text) {
    if (!reason_valid(text))
        return "REASON_MALFORMED";
    const char *result = "REASON_NOT_KEPT";
    pthread_mutex_lock(&reasons.mutex);
    size_t i = 0;
    while (i < reasons.count && !bytes_equal(bytes_of_text(reasons.texts[i]), text))
        i++;
    if (i == reasons.count && i < REASONS_MAX) {
        memcpy(reasons.texts[i], text.data, text.size);
        reasons.texts[i][text.size] = '\0';
        reasons.count++;
    }
    if (i < reasons.count)
        result = reasons.texts[i];
    pthread_mutex_unlock(&reasons.mutex);
    return result;
}

/* ---- out ---- */

/* A message cut in the middle of a character, or made from hostile input, must not make the status itself
 * unreadable. */
static void copy_utf8(char *out, size_t room, const char *text) {
    snprintf(out, room, "%s", text);
    if (utf8_valid(bytes_of_text(out)))
        return;
    for (char *c = out; *c != '\0'; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
}

typedef struct any_slot {
    Google__Protobuf__Any any;
    uint8_t packed[1024];
} any_slot;

static void any_fill(any_slot *slot, const char *type_url, const ProtobufCMessage *message, size_t *count,
                     Google__Protobuf__Any **list) {
    if (protobuf_c_message_get_packed_size(message) > sizeof slot->packed)
        return;
    google__protobuf__any__init(&slot->any);
    slot->any.type_url = (char *)(uintptr_t)type_url;
    slot->any.value.data = slot->packed;
    slot->any.value.len = protobuf_c_message_pack(message, slot->packed);
    list[(*count)++] = &slot->any;
}

static void fill_violation(any_slot *slot, const failure *why, char *message, size_t *count,
                           Google__Protobuf__Any **list) {
    char field[sizeof why->field];
    copy_utf8(field, sizeof field, why->field);
    Google__Rpc__BadRequest__FieldViolation violation = GOOGLE__RPC__BAD_REQUEST__FIELD_VIOLATION__INIT;
    violation.field = field;
    violation.description = message;
    Google__Rpc__BadRequest__FieldViolation *violations[] = {&violation};
    Google__Rpc__BadRequest request = GOOGLE__RPC__BAD_REQUEST__INIT;
    request.n_field_violations = 1;
    request.field_violations = violations;
    any_fill(slot, TYPE_PREFIX "google.rpc.BadRequest", &request.base, count, list);
}

static void fill_retry(any_slot *slot, uint32_t after_ms, size_t *count, Google__Protobuf__Any **list) {
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    delay.seconds = after_ms / 1000;
    delay.nanos = (int32_t)(after_ms % 1000) * 1000000;
    Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;
    retry.retry_delay = &delay;
    any_fill(slot, TYPE_PREFIX "google.rpc.RetryInfo", &retry.base, count, list);
}

grpc_slice detail_encode(status_code code, const failure *why) {
    char message[sizeof why->message] = "";
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    any_slot slots[3];
    Google__Protobuf__Any *list[3];
    size_t count = 0;
    status.code = (int32_t)code;
    if (why != NULL) {
        copy_utf8(message, sizeof message, why->message);
        Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
        info.reason = (char *)(uintptr_t)(why->reason != NULL ? why->reason : status_name(code));
        info.domain = (char *)(uintptr_t)DETAIL_DOMAIN;
        any_fill(&slots[count], TYPE_PREFIX "google.rpc.ErrorInfo", &info.base, &count, list);
        if (why->field[0] != '\0')
            fill_violation(&slots[count], why, message, &count, list);
        if (why->retry_after_ms != 0)
            fill_retry(&slots[count], why->retry_after_ms, &count, list);
    }
    status.message = message;
    status.n_details = count;
    status.details = list;
    grpc_slice slice = grpc_slice_malloc(google__rpc__status__get_packed_size(&status));
    google__rpc__status__pack(&status, GRPC_SLICE_START_PTR(slice));
    return slice;
}

/* ---- in ---- */

static void copy_printable(char *out, size_t room, bytes text) {
    size_t size = text.size < room ? text.size : room - 1;
    for (size_t i = 0; i < size; i++)
        out[i] = text.data[i] == '\0' ? '?' : (char)text.data[i];
    out[size] = '\0';
}

static void read_any(const Google__Protobuf__Any *any, arena *memory, failure *out) {
    bytes value = bytes_of(any->value.data, any->value.len);
    ProtobufCMessage *message;
    if (strcmp(any->type_url, TYPE_PREFIX "google.rpc.ErrorInfo") == 0 &&
        wire_unpack(&google__rpc__error_info__descriptor, value, memory, &message, NULL) == STATUS_OK) {
        out->reason = reason_intern(bytes_of_text(((Google__Rpc__ErrorInfo *)message)->reason));
    } else if (strcmp(any->type_url, TYPE_PREFIX "google.rpc.BadRequest") == 0 &&
               wire_unpack(&google__rpc__bad_request__descriptor, value, memory, &message, NULL) ==
                   STATUS_OK) {
        Google__Rpc__BadRequest *request = (Google__Rpc__BadRequest *)message;
        if (request->n_field_violations > 0)
            copy_printable(out->field, sizeof out->field, bytes_of_text(request->field_violations[0]->field));
    } else if (strcmp(any->type_url, TYPE_PREFIX "google.rpc.RetryInfo") == 0 &&
               wire_unpack(&google__rpc__retry_info__descriptor, value, memory, &message, NULL) ==
                   STATUS_OK) {
        const Google__Protobuf__Duration *delay = ((Google__Rpc__RetryInfo *)message)->retry_delay;
        if (delay != NULL && delay->seconds >= 0 && delay->seconds < 86400 && delay->nanos >= 0 &&
            delay->nanos < 1000000000)
            out->retry_after_ms = (uint32_t)(delay->seconds * 1000 + delay->nanos / 1000000);
    }
}

void detail_decode(status_code code, bytes message, bytes detail, failure *out) {
    *out = (failure){.code = code, .reason = status_name(code)};
    copy_printable(out->message, sizeof out->message, message);
    if (detail.size == 0 || detail.size > DETAIL_BYTES_MAX)
        return;
    arena memory;
    arena_init(&memory, 4096, 2 * LIMIT_ARENA_BASE_BYTES);
    ProtobufCMessage *unpacked;
    if (wire_unpack(&google__rpc__status__descriptor, detail, &memory, &unpacked, NULL) == STATUS_OK) {
        Google__Rpc__Status *status = (Google__Rpc__Status *)unpacked;
        for (size_t i = 0; i < status->n_details; i++)
            read_any(status->details[i], &memory, out);
    }
    arena_free(&memory);
}
