/* Reading how long to keep what. */
#include "history_limits.h"

#include <stdlib.h>
#include <string.h>

#define DAYS_MAX 36500
#define DAY_MS (24LL * 3600 * 1000)

/* By number of the protocol's EdgeKind. */
static const char *const edge_words[] = {
    NULL,       "calls",      "publishes", "consumes", "reads",     "writes",      "runs_on",   "in_zone",
    "declares", "changed_by", "affected",  "caused",   "suspected", "resolved_by", "generated", "owned_by"};

static bool word_is(const char *word, bytes text) {
    return word != NULL && strlen(word) == text.size && memcmp(word, text.data, text.size) == 0;
}

/* Where the days of a word go; NULL: there is no such kind. */
static int64_t *limit_named(history_limits *self, bytes word) {
    if (word_is("all", word))
        return &self->keep_ms;
    for (unsigned kind = 1; kind < 32; kind++)
        if (word_is(name_kind_word((node_kind)kind), word))
            return &self->keep_node_ms[kind];
    for (size_t kind = 1; kind < sizeof edge_words / sizeof *edge_words; kind++)
        if (word_is(edge_words[kind], word))
            return &self->keep_edge_ms[kind];
    return NULL;
}

static const char *item_parse(history_limits *self, const char *text) {
    size_t size = strcspn(text, "=,");
    int64_t *limit = limit_named(self, bytes_of(text, size));
    if (limit == NULL || text[size] != '=' || text[size + 1] < '0' || text[size + 1] > '9')
        return NULL;
    char *end = NULL;
    long days = strtol(text + size + 1, &end, 10);
    if (days > DAYS_MAX || (*end != 0 && *end != ','))
        return NULL;
    *limit = days * DAY_MS;
    return end;
}

status_code history_limits_parse(const char *text, int64_t changes_hours, history_limits *out, failure *why) {
    history_limits limits = {.keep_changes_ms = changes_hours * 3600 * 1000};
    const char *at = text;
    while (*at != 0) {
        const char *end = item_parse(&limits, at);
        if (end == NULL)
            return fail(why, STATUS_INVALID_ARGUMENT, "BAD_KEEP",
                        "keep: cannot read '%.60s'; write days by kind, such as all=400,calls=90,deploy=180",
                        at);
        at = *end == ',' ? end + 1 : end;
    }
    *out = limits;
    return STATUS_OK;
}
