/* The status list and the helpers that fill a failure. */
#define BASE_STATUS_IMPLEMENTATION
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

/* Messages quote input, cut where a format says so: what is left of a cut character would make the text
 * invalid, and a protobuf string that holds it unreadable for the caller. */
static void make_readable(char *text) {
    if (utf8_valid(bytes_of_text(text)))
        return;
    for (; *text != '\0'; text++)
        if ((unsigned char)*text >= 0x80)
            *text = '?';
}

static void fill(failure *out, status_code code, const char *reason, const char *format, va_list arguments) {
    out->code = code;
    out->reason = reason;
    out->field[0] = '\0';
    out->retry_after_ms = 0;
    vsnprintf(out->message, sizeof out->message, format, arguments);
    make_readable(out->message);
}

status_code fail(failure *out, status_code code, const char *reason, const char *format, ...) {
    if (out != NULL) {
        va_list arguments;
        va_start(arguments, format);
        fill(out, code, reason, format, arguments);
        va_end(arguments);
    }
    return code;
}

status_code fail_field(failure *out, const char *field, const char *reason, const char *format, ...) {
    if (out != NULL) {
        va_list arguments;
        va_start(arguments, format);
        fill(out, STATUS_INVALID_ARGUMENT, reason, format, arguments);
        va_end(arguments);
        snprintf(out->field, sizeof out->field, "%s", field);
        make_readable(out->field);
    }
    return STATUS_INVALID_ARGUMENT;
}

status_code fail_within(failure *out, status_code code, const char *format, ...) {
    if (out != NULL) {
        char inner[sizeof out->message];
        memcpy(inner, out->message, sizeof inner);
        va_list arguments;
        va_start(arguments, format);
        int used = vsnprintf(out->message, sizeof out->message, format, arguments);
        va_end(arguments);
        if (used >= 0 && (size_t)used < sizeof out->message)
            snprintf(out->message + used, sizeof out->message - (size_t)used, ": %.400s", inner);
        make_readable(out->message);
        out->code = code;
    }
    return code;
}

const char *status_name(status_code code) {
    static const char *const names[] = {
        "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
        "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED"};
    if (code == STATUS_PENDING)
        return "PENDING";
    return (unsigned)code < sizeof names / sizeof *names ? names[code] : "UNKNOWN";
}
