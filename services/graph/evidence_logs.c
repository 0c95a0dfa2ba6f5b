/* Exceptions in log messages, told by what languages have in common: a word that ends in Exception or Error,
 * often followed by a colon and what happened. */
#include "evidence_logs.h"

#include <ctype.h>
#include <string.h>

#define MESSAGE_LOOKED_AT 4096U
#define SAID_BYTES 80U /* of what happened */
#define LEVEL_LOOKED_AT 200U

static bool is_word(char byte) {
    return isalnum((unsigned char)byte) || byte == '_';
}

/* The end of a word that ends in Exception or Error at or after `from`; NULL when there is none. */
static const char *class_end(const char *from, const char *stop) {
    for (; from < stop; from++) {
        size_t size = strncmp(from, "Exception", 9) == 0 ? 9 : strncmp(from, "Error", 5) == 0 ? 5 : 0;
        if (size > 0 && from + size <= stop && !is_word(from[size]))
            return from + size;
    }
    return NULL;
}

static const char *class_begin(const char *message, const char *end) {
    const char *begin = end;
    while (begin > message && is_word(begin[-1]))
        begin--;
    return begin;
}

static void signature_write(const char *begin, const char *end, const char *stop,
                            char out[EVIDENCE_ERROR_BYTES]) {
    size_t size = (size_t)(end - begin);
    size = size < EVIDENCE_ERROR_BYTES - 1 ? size : EVIDENCE_ERROR_BYTES - 1;
    memcpy(out, begin, size);
    if (end + 1 < stop && end[0] == ':' && end[1] == ' ') {
        size_t said = 0;
        while (end + 2 + said < stop && said < SAID_BYTES && strchr("\n])", end[2 + said]) == NULL)
            said++;
        for (size_t i = 0; i < said + 2 && size < EVIDENCE_ERROR_BYTES - 1; i++)
            out[size++] = end[i];
        while (size > 0 && out[size - 1] == ' ')
            size--;
    }
    out[size] = '\0';
}

bool exception_signature(const char *message, char out[EVIDENCE_ERROR_BYTES]) {
    const char *stop = message + strnlen(message, MESSAGE_LOOKED_AT);
    const char *first = NULL;
    for (const char *end = class_end(message, stop); end != NULL; end = class_end(end, stop)) {
        bool says = end + 1 < stop && end[0] == ':' && end[1] == ' ';
        if (says) {
            signature_write(class_begin(message, end), end, stop, out);
            return true;
        }
        first = first == NULL ? end : first;
    }
    if (first == NULL)
        return false;
    signature_write(class_begin(message, first), first, first, out);
    return true;
}

/* Where the record states no level, its text may, at the beginning. */
static bool text_is_error(const char *message) {
    static const char *const words[] = {"ERROR", "FATAL", "SEVERE", "CRITICAL"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const char *at = strstr(message, words[i]);
        bool begins = at != NULL && at - message < (ptrdiff_t)LEVEL_LOOKED_AT;
        if (begins && (at == message || !is_word(at[-1])) && !is_word(at[strlen(words[i])]))
            return true;
    }
    return false;
}

static uint32_t error_of(evidence_keep *self, const templates *masks, const log_observation *one) {
    char signature[EVIDENCE_ERROR_BYTES];
    char text[EVIDENCE_ERROR_BYTES] = "";
    if (one->message != NULL && exception_signature(one->message, signature)) {
        templates_mask(masks, bytes_of_text(signature), text, sizeof text);
        return evidence_keep_error(self, text, true, 0);
    }
    bool error =
        one->severity == LOG_SEVERITY_ERROR || one->exception ||
        (one->severity == LOG_SEVERITY_UNKNOWN && one->message != NULL && text_is_error(one->message));
    if (!error || one->template_id == TEMPLATES_NONE)
        return EVIDENCE_NONE;
    /* By the pattern's first form: a template's text may grow wildcards later. */
    templates_mask(masks, bytes_of_text(one->message == NULL ? "" : one->message), text, sizeof text);
    return evidence_keep_error(self, text, false, one->node);
}

void evidence_logs_take(evidence_keep *self, const templates *masks, const log_observation *one,
                        uint64_t boot_ms) {
    if (one->span_id == 0 || one->template_id == TEMPLATES_NONE)
        return;
    evidence_keep_record(self, one->trace_id, one->span_id, one->template_id, error_of(self, masks, one),
                         boot_ms);
}
