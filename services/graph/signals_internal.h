/* What signals.c (writing) and signals_read.c share. Nobody else includes it. */
#ifndef GRAPH_SIGNALS_INTERNAL_H
#define GRAPH_SIGNALS_INTERNAL_H

#include <pthread.h>

#include "buckets.h"
#include "signals.h"
#include "texts.h"

typedef struct signal_bucket {
    bucket base;
    uint32_t parts;
    double count, sum, minimum, maximum;
} signal_bucket;

typedef struct series_entry {
    bucket_levels levels;
    int64_t first_ms, last_ms;
    double points;
    int64_t sum_start_ms, sum_time_ms; /* of a cumulative sum; 0: none seen */
    double sum_count, sum_sum;
    uint32_t next_of_node; /* series + 1; 0 ends */
    signal_type type;
    bool noted;
    char unit[16];
} series_entry;

typedef struct node_list {
    uint32_t first, last; /* series + 1; 0: none */
} node_list;

struct signals {
    pthread_rwlock_t lock;
    texts nodes; /* names */
    texts keys;  /* of series: owner is the node, the text pod NUL name */
    series_entry *series;
    uint32_t series_count, series_room;
    node_list *lists; /* by node */
    uint32_t node_room;
    bucket_set set;
    uint32_t *changed; /* series whose row differs from the store's */
    size_t changed_count, changed_room;
    signals_totals totals;
};

extern const bucket_kind signal_kind;

#endif
