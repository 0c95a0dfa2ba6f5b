/* The log writer: builds a line in a fixed buffer and writes it at once. */
#include "base/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/chance.h"

#define LINE_SIZE 4096

static struct {
    const char *service;
    log_level least;
    log_format format;
} setup = {.service = "interlock", .least = LOG_INFO, .format = LOG_LOGFMT};

typedef struct line {
    char text[LINE_SIZE];
    size_t size;
} line;

void log_setup(const char *service, log_level least, log_format format) {
    setup.service = service;
    setup.least = least;
    setup.format = format;
}

static void put(line *out, char c) {
    if (out->size < LINE_SIZE - 2)
        out->text[out->size++] = c;
}

static void put_text(line *out, const char *text) {
    while (*text != '\0')
        put(out, *text++);
}

/* Quoted with JSON's escapes in both formats: one rule, and no byte of a value can end the line. */
static void put_quoted(line *out, const char *text) {
    put(out, '"');
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\') {
            put(out, '\\');
            put(out, (char)*p);
        } else if (*p < 0x20 || *p == 0x7f) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\u%04x", *p);
            put_text(out, escape);
        } else {
            put(out, (char)*p);
        }
    }
    put(out, '"');
}

static bool is_plain(const char *text) {
    if (*text == '\0')
        return false;
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++)
        if (*p <= ' ' || *p == '"' || *p == '=' || *p == '\\' || *p == 0x7f)
            return false;
    return true;
}

static void put_pair(line *out, const char *key, const char *text) {
    bool json = setup.format == LOG_JSON;
    put(out, out->size == 0 ? (json ? '{' : ' ') : (json ? ',' : ' '));
    if (!json && out->size == 1)
        out->size = 0;
    if (json)
        put_quoted(out, key);
    else
        put_text(out, key);
    put(out, json ? ':' : '=');
    if (!json && is_plain(text))
        put_text(out, text);
    else
        put_quoted(out, text);
}

static void put_number(line *out, const char *key, int64_t number) {
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)number);
    if (setup.format != LOG_JSON) {
        put_pair(out, key, digits);
        return;
    }
    put(out, ',');
    put_quoted(out, key);
    put(out, ':');
    put_text(out, digits);
}

static void put_time(line *out) {
    int64_t now_ms = chance_wall_ms(chance_system());
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    char text[64];
    size_t size = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + size, sizeof text - size, ".%03dZ", (int)(now_ms % 1000));
    put_pair(out, "time", text);
}

void log_write(log_level level, const char *message, const log_field *fields, size_t count) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (level < setup.least)
        return;
    line out = {.size = 0};
    put_time(&out);
    put_pair(&out, "level", names[level]);
    put_pair(&out, "service", setup.service);
    put_pair(&out, "message", message);
    for (size_t i = 0; i < count; i++) {
        if (fields[i].text != NULL)
            put_pair(&out, fields[i].key, fields[i].text);
        else
            put_number(&out, fields[i].key, fields[i].number);
    }
    if (setup.format == LOG_JSON) {
        /* A cut line must still be JSON; the brace has its place kept by put(). */
        out.text[out.size++] = '}';
    }
    out.text[out.size++] = '\n';
    ssize_t written = write(STDERR_FILENO, out.text, out.size);
    (void)written; /* nowhere left to report it */
}

status_code log_failure(const char *what, const failure *why) {
    LOG(LOG_ERROR, what, LOG_TEXT("code", status_name(why->code)),
        LOG_TEXT("reason", why->reason != NULL ? why->reason : ""), LOG_TEXT("error", why->message));
    return why->code;
}
