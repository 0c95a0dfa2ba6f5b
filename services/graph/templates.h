/* Log templates: the constant part of log messages, found by Drain (He et al., ICWS 2017) over masked tokens,
 * with counts per node and minute. Messages are not kept. Masking comes first: known service names, ids,
 * times and numbers become <*>, so that only words tell templates apart; then messages of the same length (at
 * most TEMPLATES_TOKENS tokens count) with at least 0.6 of their tokens equal share a template, and where
 * they differ it has <*>.
 *
 * Bounded and flood-proof: TEMPLATES_MAX in all, TEMPLATES_NODE_MAX a node; what is beyond is counted under
 * the node's template number TEMPLATES_OTHER. Same locking as signals.h: everything here is inside the same
 * signals_write_begin/signals_read_begin. */
#ifndef GRAPH_TEMPLATES_H
#define GRAPH_TEMPLATES_H

#include <stddef.h>

#include "base/bytes.h"

#define TEMPLATES_MAX 65536U
#define TEMPLATES_NODE_MAX 512U /* templates that one node may have made */
#define TEMPLATES_TOKENS 14U
#define TEMPLATES_SIMILARITY 0.6
#define TEMPLATES_TEXT_BYTES 512U
#define TEMPLATES_OTHER 0U /* the template of all that found no place */
#define TEMPLATES_NONE UINT32_MAX

typedef struct templates templates;

typedef enum log_severity {
    LOG_SEVERITY_UNKNOWN,
    LOG_SEVERITY_LOW,
    LOG_SEVERITY_WARN,
    LOG_SEVERITY_ERROR
} log_severity;

/* One log record as the parts that look at traces see it. */
typedef struct log_observation {
    uint8_t trace_id[16]; /* zeros: none */
    uint64_t span_id;     /* 0: none */
    int64_t time_ns;
    uint32_t node; /* of the traffic model */
    uint32_t pod;  /* operations.h: pod number; 0: none */
    uint32_t template_id;
    uint8_t severity;
    bool exception; /* it carries an exception (exception.type or a stack trace) */
} log_observation;

typedef struct template_info {
    const char *text;      /* masked, tokens parted by one blank */
    log_severity severity; /* the highest seen */
    double count;          /* over all nodes, ever */
    int64_t first_ms, last_ms;
} template_info;

/* Counts of one template at one node in one bucket. */
typedef struct template_point {
    int64_t from_ms, width_ms;
    double count;
} template_point;

status_code templates_create(templates **out, failure *why) MUST_USE;
void templates_free(templates *self); /* takes NULL */

/* A name of a service, masked from now on wherever it stands in a message as a word of its own. */
void templates_know_service(templates *self, const char *name);

/* The template of the message, made when it is new; counts it at the node (kind:environment/namespace/name).
 */
uint32_t templates_add(templates *self, const char *node, bytes message, log_severity severity,
                       int64_t time_ms);
/* The masked form alone, for tests and for exception signatures: at most size - 1 bytes. Returns its length.
 */
size_t templates_mask(const templates *self, bytes message, char *out, size_t size);

uint32_t templates_count(const templates *self);
template_info templates_at(const templates *self, uint32_t template_id);
/* The templates that a node has said, by number; at most room (TEMPLATES_NODE_MAX + 1 holds all). */
size_t templates_of_node(const templates *self, const char *node, uint32_t *out, size_t room);
size_t templates_points(const templates *self, const char *node, uint32_t template_id, int64_t from_ms,
                        int64_t to_ms, template_point *out, size_t room);
/* Sum of the buckets that begin in [from_ms, to_ms). */
double templates_count_between(const templates *self, const char *node, uint32_t template_id, int64_t from_ms,
                               int64_t to_ms);

typedef struct templates_totals {
    uint64_t messages;
    uint64_t flooded; /* counted under TEMPLATES_OTHER, because a bound was reached */
} templates_totals;
const templates_totals *templates_totals_of(const templates *self);

#endif
