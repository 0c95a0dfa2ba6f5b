/* Structured logs on standard error, a line an event, logfmt or JSON. Called only at the top of a process.
 * Thread-safe: a line is one write(2). Values are escaped, so that no input can forge a line. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } log_level;
typedef enum log_format { LOG_LOGFMT, LOG_JSON } log_format;

typedef struct log_field {
    const char *key;
    const char *text; /* NULL: `number` is the value */
    int64_t number;
} log_field;

#define LOG_TEXT(name, value) ((log_field){.key = (name), .text = (value)})
#define LOG_NUMBER(name, value) ((log_field){.key = (name), .number = (int64_t)(value)})

/* Set once, before threads start. `service` must stay valid. */
void log_setup(const char *service, log_level least, log_format format);

void log_write(log_level level, const char *message, const log_field *fields, size_t count);

/* LOG(LOG_INFO, "listening", LOG_TEXT("address", a), LOG_NUMBER("port", p)); at least one field. */
#define LOG(level, message, ...)                                                                             \
    log_write((level), (message), (const log_field[]){__VA_ARGS__},                                          \
              sizeof((const log_field[]){__VA_ARGS__}) / sizeof(log_field))

/* Writes the failure at LOG_ERROR under `what`, and returns its code. */
status_code log_failure(const char *what, const failure *why);

#endif
