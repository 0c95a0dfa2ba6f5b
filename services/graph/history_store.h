/* The history's tables. The writer's belongs to the ingest thread and writes inside that thread's
 * transaction; every reader has one over a connection of its own. */
#ifndef GRAPH_HISTORY_STORE_H
#define GRAPH_HISTORY_STORE_H

#include "history_internal.h"

typedef struct history_store history_store;

status_code history_store_open(history_store **out, store *connection, bool writes, failure *why) MUST_USE;
void history_store_close(history_store *self); /* takes NULL; the connection stays open */

/* ---- Loading: rows in order of their number; false from the callback means that a row cannot be, and the
 * status is DATA_LOSS (STORE_INCONSISTENT). ---- */

typedef struct history_row {
    int64_t id;
    const char *name, *other;
    int64_t numbers[5]; /* the other columns, in the order of the table */
    bytes body;
} history_row;
typedef bool (*history_row_reader)(void *context, const history_row *row);

typedef enum history_table {
    HISTORY_NODES,
    HISTORY_ALIASES,
    HISTORY_EDGES,
    HISTORY_ORIGINS,
    HISTORY_TIMELINES,
    HISTORY_SEGMENTS,
    HISTORY_TABLES,
} history_table;
status_code history_store_load(history_store *self, history_table table, history_row_reader read,
                               void *context, failure *why) MUST_USE;
/* The log after a revision: numbers[0] is recorded_ms. At most `most` rows; *end: there are no more. */
status_code history_store_log(history_store *self, uint64_t after, uint32_t most, history_row_reader read,
                              void *context, failure *why) MUST_USE;
/* Largest number of a value. */
status_code history_store_value_last(history_store *self, uint32_t *number, failure *why) MUST_USE;

/* ---- Lots ---- */

typedef enum history_lots { LOTS_KEYFRAME, LOTS_RECORDS, LOTS_LATE, LOTS_TABLES } history_lots;

/* The body of one lot, valid until the next call; empty when there is none. `segment_id` is 0 for LOTS_LATE.
 */
status_code history_store_lot(history_store *self, history_lots table, uint32_t segment_id, uint32_t lot,
                              bytes *body, failure *why) MUST_USE;
/* All lots of a segment in order: row->id is the lot. */
status_code history_store_lots(history_store *self, history_lots table, uint32_t segment_id,
                               history_row_reader read, void *context, failure *why) MUST_USE;
status_code history_store_lot_put(history_store *self, history_lots table, uint32_t segment_id, uint32_t lot,
                                  bytes body, failure *why) MUST_USE;

/* ---- Values ---- */

/* 0: there is none. */
status_code history_store_value_find(history_store *self, uint64_t hash, bytes body, uint32_t *number,
                                     failure *why) MUST_USE;
/* Valid until the next call. DATA_LOSS when there is none. */
status_code history_store_value(history_store *self, uint32_t number, bytes *body, failure *why) MUST_USE;

/* ---- Writing ---- */

status_code history_store_node_put(history_store *self, uint32_t id, const char *name, int kind,
                                   failure *why) MUST_USE;
status_code history_store_alias_put(history_store *self, uint32_t id, const char *name, uint32_t node,
                                    failure *why) MUST_USE;
status_code history_store_edge_put(history_store *self, uint32_t id, const edge_item *edge,
                                   failure *why) MUST_USE;
status_code history_store_origin_put(history_store *self, uint32_t id, const char *name,
                                     failure *why) MUST_USE;
status_code history_store_timeline_put(history_store *self, uint32_t id, const timeline_item *timeline,
                                       failure *why) MUST_USE;
status_code history_store_value_put(history_store *self, const pending_value *value, failure *why) MUST_USE;
status_code history_store_log_put(history_store *self, uint64_t revision, int64_t recorded_ms, bytes body,
                                  failure *why) MUST_USE;
status_code history_store_segment_put(history_store *self, const segment *item, bytes revisions,
                                      failure *why) MUST_USE;
/* Which revisions were recorded when, in a sealed segment; valid until the next call. */
status_code history_store_revisions(history_store *self, uint32_t segment_id, bytes *body,
                                    failure *why) MUST_USE;

/* What a file of version 1 knew, by recorded time: id is recorded_ms, name and other are the fact's, numbers
 * are is_edge, kind, provenance, valid_from and confidence in millionths. *there is false without any. */
status_code history_store_old(history_store *self, history_row_reader read, void *context, bool *there,
                              failure *why) MUST_USE;
status_code history_store_old_drop(history_store *self, failure *why) MUST_USE;

/* ---- Letting go ---- */

status_code history_store_segment_drop(history_store *self, uint32_t segment_id, failure *why) MUST_USE;
/* The oldest rows up to that revision and recorded before that time; at most 4,096. *last is the last one
 * that went; untouched when none did. */
status_code history_store_log_trim(history_store *self, uint64_t up_to_revision, int64_t before_recorded_ms,
                                   uint64_t *last, failure *why) MUST_USE;
/* Up to which revision rows have been taken from the log. */
status_code history_store_floor_put(history_store *self, uint64_t revision, failure *why) MUST_USE;
status_code history_store_floor(history_store *self, uint64_t *revision, failure *why) MUST_USE;
/* Values up to before `count` whose bit is not set. */
status_code history_store_values_drop(history_store *self, const uint8_t *used, uint32_t count,
                                      failure *why) MUST_USE;

/* A reader sees one state of the file from begin to end. */
status_code history_store_begin(history_store *self, failure *why) MUST_USE;
void history_store_end(history_store *self);

#endif
