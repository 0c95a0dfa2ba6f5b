/* Signals: what metrics say about each node, kept as bounded series of time buckets instead of as telemetry.
 * A series is (node, pod, name of the signal); it keeps fine buckets of 15 s for what is recent, folds older
 * ones into two minutes and those into hours, and forgets the oldest hours. Buckets hold count, sum, minimum
 * and maximum, so that folding conserves counts and sums and the order in which points arrive does not
 * matter.
 *
 * Baselines and change points are computed from the buckets when somebody asks: they cost ingest nothing and
 * late points count. Bounded: SIGNALS_SERIES_MAX series, SIGNALS_NODE_SERIES_MAX a node; what is beyond goes
 * to the node's series named SIGNALS_OTHER (count of values alone) and is counted.
 *
 * One writer (the ingest thread) that holds the write lock while it applies an item; readers on any thread
 * hold the read lock (signals_read_begin … signals_read_end), briefly: copy out what you need. Pointers that
 * reading functions return are valid until signals_read_end; names for as long as the signals. */
#ifndef GRAPH_SIGNALS_H
#define GRAPH_SIGNALS_H

#include <stddef.h>

#include "base/bytes.h"

#define SIGNALS_SERIES_MAX 262144U
#define SIGNALS_NODES_MAX 32768U
#define SIGNALS_NODE_SERIES_MAX 1024U /* all pods of a node together */
#define SIGNALS_NAME_BYTES 128U /* of a signal's name and of a pod's, with the NUL; longer ones are cut */
#define SIGNALS_OTHER "other"
#define SIGNALS_NONE UINT32_MAX
#define SIGNALS_LEVELS 3U
#define SIGNALS_FINE_MS 15000
#define SIGNALS_MIDDLE_MS 120000
#define SIGNALS_COARSE_MS 3600000

typedef struct signals signals;

typedef enum signal_type {
    SIGNAL_GAUGE, /* a level: cpu, memory, queue length */
    SIGNAL_RATE,  /* of a sum, per second */
    SIGNAL_MEAN,  /* of a histogram or summary: sum / count of the interval */
    SIGNAL_HIGH,  /* of a histogram: the 95th percentile of the interval, by its bounds */
} signal_type;

typedef struct signal_series {
    uint32_t node;   /* signals_node_name */
    const char *pod; /* "" when the source does not say */
    const char *name;
    const char *unit;
    signal_type type;
    int64_t first_ms, last_ms; /* of what was ever seen */
    double points;             /* ever seen */
} signal_series;

/* One bucket: [from_ms, from_ms + width_ms). */
typedef struct signal_point {
    int64_t from_ms;
    int64_t width_ms;
    double count, sum, minimum, maximum;
} signal_point;

/* What is normal: quantiles over the buckets' means (each bucket counts once, a folded one as many times as
 * fine ones went into it). `spread` is a robust standard deviation: IQR / 1.349, or half of (P90 - P10)
 * / 1.2816 when that is larger. */
typedef struct signal_baseline {
    double buckets; /* how many the quantiles rest on */
    double p10, p25, median, p75, p90;
    double spread;
    int64_t from_ms, to_ms; /* what it covers */
} signal_baseline;

/* A lasting shift of level. */
typedef struct signal_change {
    int64_t at_ms;
    double before, after; /* medians on both sides */
    double strength;      /* |after - before| in spreads of what lay before (1% of the level is added) */
} signal_change;

/* ---- Reading (any thread, inside begin … end) ---- */

void signals_read_begin(signals *self);
void signals_read_end(signals *self);

/* kind:environment/namespace/name -> number; SIGNALS_NONE when it has no signals. */
uint32_t signals_node_find(const signals *self, const char *name);
const char *signals_node_name(const signals *self, uint32_t node);
uint32_t signals_node_count(const signals *self);
uint32_t signals_series_count(const signals *self);
signal_series signals_series_at(const signals *self, uint32_t series);
/* The series of a node, in the order in which they were made; `room` of SIGNALS_NODE_SERIES_MAX holds all. */
size_t signals_of_node(const signals *self, uint32_t node, uint32_t *out, size_t room);
uint32_t signals_series_find(const signals *self, const char *node, const char *pod, const char *name);

/* Buckets that begin in [from_ms, to_ms), ascending; at most room, the newest when there are more. A bucket
 * that was folded begins where its coarser interval begins. */
size_t signals_points(const signals *self, uint32_t series, int64_t from_ms, int64_t to_ms, signal_point *out,
                      size_t room);
/* Over the buckets that end at or before before_ms and begin at or after before_ms - reach_ms (0: all). False
 * when there are none; `out` is untouched then. */
bool signals_baseline_before(const signals *self, uint32_t series, int64_t before_ms, int64_t reach_ms,
                             signal_baseline *out);
/* Level shifts in [from_ms, to_ms) of at least 3 spreads that last at least three buckets, strongest first.
 */
size_t signals_changes(const signals *self, uint32_t series, int64_t from_ms, int64_t to_ms,
                       signal_change *out, size_t room);
/* The most points that signals_points can return. */
#define SIGNALS_POINTS_MAX 640U

/* ---- Writing (the ingest thread) ---- */

status_code signals_create(signals **out, uint64_t seed, failure *why) MUST_USE;
void signals_free(signals *self); /* takes NULL */

void signals_write_begin(signals *self);
void signals_write_end(signals *self);

/* The node's number, made when it is new; SIGNALS_NONE beyond the bound. */
uint32_t signals_node_named(signals *self, const char *name) MUST_USE;
/* The series, made when it is new; the node's SIGNALS_OTHER when a bound is reached, SIGNALS_NONE when even
 * that cannot be. Copies the texts. */
uint32_t signals_series_named(signals *self, const char *node, bytes pod, bytes name, bytes unit,
                              signal_type type) MUST_USE;
/* Adds one value; what is no finite number is left out and counted. */
void signals_add(signals *self, uint32_t series, int64_t time_ms, double value);

/* A monotonic sum, raw: turned into a rate by what was seen of it before. A sum that has fallen, or that says
 * a later start, began anew: then its rate is from its start, where that is stated. False when it is older
 * than the newest seen, or the first: nothing was added. */
bool signals_add_cumulative(signals *self, uint32_t series, int64_t start_ms, int64_t time_ms, double value);
/* The increase of a sum over the time that it is about, likewise; for what is more than one number
 * (histograms). */
typedef struct signal_increase {
    double count, sum;
    int64_t milliseconds;
} signal_increase;
bool signals_increase(signals *self, uint32_t series, int64_t start_ms, int64_t time_ms, double count,
                      double sum, signal_increase *out);

typedef struct signals_totals {
    uint64_t points;         /* taken */
    uint64_t not_finite;     /* left out */
    uint64_t series_refused; /* points of series beyond a bound, counted in "other" */
    uint64_t resets;         /* sums that began anew */
    uint64_t late;           /* older than anything that is kept; left out */
    uint64_t out_of_order;   /* points of a cumulative sum not newer than its newest */
    uint64_t buckets;        /* kept now, all levels */
} signals_totals;
signals_totals signals_totals_of(const signals *self);

/* ---- For the store: signals_store.c ---- */

typedef struct signal_row { /* a series as it is stored; texts are the signals' */
    uint32_t number, node;
    const char *pod, *name, *unit;
    signal_type type;
    int64_t first_ms, last_ms;
    double points;
    int64_t sum_start_ms, sum_time_ms; /* of a cumulative sum; 0: none */
    double sum_count, sum_sum;
} signal_row;
typedef struct signal_bucket_row {
    uint32_t series;
    unsigned level;
    int64_t from_ms;
    bool gone; /* delete it */
    double count, sum, minimum, maximum;
    uint32_t parts; /* fine buckets that went into it */
} signal_bucket_row;

uint32_t signals_nodes_stored(const signals *self); /* numbers below are stored */
uint32_t signals_series_stored(const signals *self);
size_t signals_changed_series(const signals *self, const uint32_t **numbers);
signal_row signals_row_at(const signals *self, uint32_t series);
size_t signals_changed_buckets(const signals *self);
signal_bucket_row signals_changed_bucket_at(const signals *self, size_t index);
void signals_mark_stored(signals *self);

bool signals_restore_node(signals *self, const char *name) MUST_USE;
bool signals_restore_series(signals *self, const signal_row *row) MUST_USE;
bool signals_restore_bucket(signals *self, const signal_bucket_row *row) MUST_USE;

#endif
