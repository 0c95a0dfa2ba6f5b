/* Log templates: the constant part of log messages, found by Drain (He et al., ICWS 2017) over masked tokens,
 * with counts per node and minute. Messages are not kept. Masking comes first (masks.h), so that only words
 * tell templates apart; then messages with as many tokens (at most MASK_TOKENS count) and the same first
 * three share a template when at least 0.6 of all tokens are equal, and where they differ it has <*>.
 *
 * Bounded and flood-proof: TEMPLATES_MAX in all, TEMPLATES_NODE_MAX a node; what is beyond is counted under
 * the node's template number TEMPLATES_OTHER. Same locking as signals.h: everything here is inside the same
 * signals_write_begin/signals_read_begin. */
#ifndef GRAPH_TEMPLATES_H
#define GRAPH_TEMPLATES_H

#include <stddef.h>

#include "base/bytes.h"
#include "masks.h"

#define TEMPLATES_MAX 65536U
#define TEMPLATES_NODE_MAX 512U /* templates that one node may have made */
#define TEMPLATES_SIMILARITY 0.6
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
    bool exception;      /* it carries an exception (exception.type or a stack trace) */
    const char *message; /* as it came; valid while it is handed on, never kept */
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

status_code templates_create(templates **out, uint64_t seed, failure *why) MUST_USE;
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
    uint64_t late;
} templates_totals;
templates_totals templates_totals_of(const templates *self);

/* ---- For the store: signals_store.c ---- */

typedef struct template_row {
    uint32_t number;
    const char *text;
    log_severity severity;
    double count;
    int64_t first_ms, last_ms;
} template_row;
typedef struct template_pair_row { /* a template at a node */
    uint32_t number, node, template_id;
} template_pair_row;
typedef struct template_bucket_row {
    uint32_t pair;
    unsigned level;
    int64_t from_ms;
    bool gone; /* delete it */
    double count;
} template_bucket_row;

uint32_t templates_nodes_stored(const templates *self); /* numbers below are stored */
uint32_t templates_node_count(const templates *self);
const char *templates_node_name(const templates *self, uint32_t node);
size_t templates_changed(const templates *self, const uint32_t **numbers);
template_row templates_row_at(const templates *self, uint32_t template_id);
uint32_t templates_pairs_stored(const templates *self);
uint32_t templates_pair_count(const templates *self);
template_pair_row templates_pair_at(const templates *self, uint32_t pair);
size_t templates_changed_buckets(const templates *self);
template_bucket_row templates_changed_bucket_at(const templates *self, size_t index);
void templates_mark_stored(templates *self);

bool templates_restore_node(templates *self, const char *name) MUST_USE;
bool templates_restore(templates *self, const template_row *row) MUST_USE;
bool templates_restore_pair(templates *self, const template_pair_row *row) MUST_USE;
bool templates_restore_bucket(templates *self, const template_bucket_row *row) MUST_USE;

#endif
