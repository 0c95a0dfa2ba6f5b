/* Results. Every function that can fail returns a status_code that must be used; what a person needs to know
 * about the failure goes into a `failure` that the caller owns. Libraries never log: they return, and only
 * the top of a process (daemon, cli) writes.
 *
 *     failure why = {0};
 *     if (thing_open(path, &thing, &why) != STATUS_OK)
 *         return log_failure("cannot open the thing", &why);
 *
 * Codes carry the numbers of gRPC's canonical codes (google/rpc/code.proto), so the one place that maps a
 * status to the wire (lib/rpc) is an identity and a newcomer has one list to learn. Thread-safety: values, no
 * shared state. */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

typedef enum status_code {
    STATUS_OK = 0,
    STATUS_CANCELLED = 1,
    STATUS_UNKNOWN = 2,
    STATUS_INVALID_ARGUMENT = 3,
    STATUS_DEADLINE_EXCEEDED = 4,
    STATUS_NOT_FOUND = 5,
    STATUS_ALREADY_EXISTS = 6,
    STATUS_PERMISSION_DENIED = 7,
    STATUS_RESOURCE_EXHAUSTED = 8,
    STATUS_FAILED_PRECONDITION = 9,
    STATUS_ABORTED = 10,
    STATUS_OUT_OF_RANGE = 11,
    STATUS_UNIMPLEMENTED = 12,
    STATUS_INTERNAL = 13,
    STATUS_UNAVAILABLE = 14,
    STATUS_DATA_LOSS = 15,
    STATUS_UNAUTHENTICATED = 16,
    /* Not an error and never on the wire: the work goes on and will be completed later (see rpc/server.h). */
    STATUS_PENDING = 100,
} status_code;

/* What went wrong, for a person and for a program. `reason` is a constant UPPER_SNAKE_CASE word that clients
 * may match on (google.rpc.ErrorInfo.reason) and points to static storage; `message` says what happened,
 * where, and what to do; `field` is the path of the offending input field or empty; retry_after_ms is 0 when
 * a retry does not help. */
typedef struct failure {
    status_code code;
    const char *reason;
    char message[512];
    char field[96];
    uint32_t retry_after_ms;
} failure;

/* Fills `out` (which may be NULL) and returns `code`, so that a failing function ends in `return fail(…)`. */
status_code fail(failure *out, status_code code, const char *reason, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* The same for an input field: code INVALID_ARGUMENT, with the field's path. */
status_code fail_field(failure *out, const char *field, const char *reason, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* Adds "context: " before the message; returns the code unchanged. For a layer that knows where, not what. */
status_code fail_within(failure *out, status_code code, const char *format, ...) PRINTF_LIKE(3, 4);

/* The static analyser sees one file at a time and would follow paths on which a failure returned STATUS_OK.
 */
#if defined(__clang_analyzer__) && !defined(BASE_STATUS_IMPLEMENTATION)
#define fail(out, code, reason, ...) ((void)(out), (code))
#define fail_field(out, field, reason, ...) ((void)(out), (void)(field), STATUS_INVALID_ARGUMENT)
#define fail_within(out, code, ...) ((void)(out), (code))
#endif

/* "INVALID_ARGUMENT" etc.; never NULL. */
const char *status_name(status_code code);

#endif
