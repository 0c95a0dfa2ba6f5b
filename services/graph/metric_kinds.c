/* What a metric is about, told from words that exporters have in common. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "evidence.h"

#define NAME_MAX_BYTES 128U

typedef struct kind_rule {
    const char *words; /* any of these, parted by | */
    metric_kind kind;
} kind_rule;

/* The first that matches; order matters ("success rate" is no rate of requests). */
static const kind_rule rules[] = {
    {"succ|avail", METRIC_AVAILABILITY},
    {"err|fail|exception|5xx", METRIC_ERRORS},
    {"pool|saturat|queue.length|queue.size|backlog|pending|lag|connections.usage|in_use", METRIC_SATURATION},
    {"lat|duration|response.time|response_time", METRIC_LATENCY},
    {"cpu", METRIC_CPU},
    {"mem|heap|rss", METRIC_MEMORY},
    {"disk|sysc|filesystem|io.", METRIC_IO},
    {"net|bytes|recv|transmit|packet|retrans", METRIC_NETWORK},
    {"req|work|ops|lod|load|count|throughput", METRIC_REQUESTS},
};

static bool contains_any(const char *text, const char *words) {
    while (*words != '\0') {
        size_t size = strcspn(words, "|");
        char word[32];
        if (size < sizeof word) {
            memcpy(word, words, size);
            word[size] = '\0';
            if (strstr(text, word) != NULL)
                return true;
        }
        words += size;
        words += *words == '|';
    }
    return false;
}

/* "p99", "P99", or a name that is nothing but "99". */
static double quantile_in(const char *text) {
    for (const char *at = text; *at != '\0'; at++) {
        bool marked = *at == 'p' && isdigit((unsigned char)at[1]);
        if (!marked && !(at == text && isdigit((unsigned char)*at)))
            continue;
        char *end;
        double number = strtod(at + marked, &end);
        if (number >= 50 && number < 100 && (marked || *end == '\0'))
            return number / 100;
    }
    return 0;
}

metric_kind metric_kind_of(const char *name, double *quantile) {
    char text[NAME_MAX_BYTES];
    size_t size = 0;
    for (; size < sizeof text - 1 && name[size] != '\0'; size++)
        text[size] = (char)tolower((unsigned char)name[size]);
    text[size] = '\0';
    *quantile = 0;
    if (strncmp(text, "node", 4) == 0 || strncmp(text, "host", 4) == 0)
        return METRIC_OTHER; /* of the machine, which several share */
    double told = quantile_in(text);
    metric_kind kind = told > 0 && isdigit((unsigned char)text[0]) ? METRIC_LATENCY : METRIC_OTHER;
    for (size_t i = 0; kind == METRIC_OTHER && i < sizeof rules / sizeof *rules; i++) {
        if (contains_any(text, rules[i].words))
            kind = rules[i].kind;
    }
    if (kind != METRIC_LATENCY)
        return kind;
    *quantile = told;
    if (contains_any(text, "client"))
        return METRIC_LATENCY_CLIENT;
    return told == 0 && contains_any(text, "average|mean|avg") ? METRIC_LATENCY_MEAN : METRIC_LATENCY;
}
