/* The ingest thread. A group that cannot be committed (a full disk) stays in memory and is tried again before
 * anything else is taken, so that the model never runs further ahead of the store than one group; meanwhile
 * requests are refused and their senders try again. */
#include "ingest.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/metrics.h"
#include "daemon/daemon.h"
#include "parts.h"

#define RETRY_MS 1000U            /* after a commit that failed */
#define REFRESH_MS 1000U          /* while recent requests still widen the shares */
#define PUBLISH_CHEAP_NS 2000000U /* a snapshot that takes no longer is made after every group … */
#define PUBLISH_PART 20U          /* … a slower one takes at most this part of the time */

typedef struct ingest_item {
    ingest_request request;
    size_t cost;
    status_code status; /* of applying it */
    failure why;
} ingest_item;

struct ingest {
    const chance *source;
    parts parts; /* the thread's own, as soon as it runs */

    /* Under the lock: a ring of what waits, and the snapshot. */
    pthread_mutex_t lock;
    ingest_item queue[INGEST_QUEUE_MAX];
    size_t first, count;
    bool stopping;
    snapshot *published;

    pthread_t thread;
    bool running;
    int wake; /* eventfd */

    /* The thread's own. */
    ingest_item group[INGEST_QUEUE_MAX];
    bool unstored; /* the last commit failed: what was applied is still to be stored */
    bool unpublished;
    uint64_t publish_after_ns, retry_after_ms, refresh_at_ms;
    uint64_t publish_cost_ns;

    atomic_bool failing;
    atomic_uint_fast64_t requests[INGEST_KINDS], items[INGEST_KINDS], refused[SPANS_REFUSALS], turned_away,
        save_failures;
    histogram save_seconds;
};

/* ---- Publishing
 * --------------------------------------------------------------------------------------------------- */

snapshot *ingest_snapshot(ingest *self) {
    pthread_mutex_lock(&self->lock);
    snapshot *current = snapshot_reference(self->published);
    pthread_mutex_unlock(&self->lock);
    return current;
}

root_cause_sources ingest_root_cause_sources(ingest *self) {
    return (root_cause_sources){.kept = self->parts.evidence,
                                .telemetry = self->parts.telemetry,
                                .past = self->parts.past,
                                .graph = ingest_snapshot(self)};
}

/* A snapshot that was interrupted looks dear: what is believed at most doubles with each, and falls at once.
 */
static uint64_t cost_learnt(uint64_t believed_ns, uint64_t measured_ns) {
    uint64_t most_ns = believed_ns > 0 ? 2 * believed_ns : measured_ns;
    return measured_ns < most_ns ? measured_ns : most_ns;
}

static status_code publish(ingest *self, failure *why) {
    snapshot *made = NULL;
    uint64_t start_ns = chance_boot_ns(self->source);
    status_code status = parts_snapshot(&self->parts, &made, chance_wall_ms(self->source), why);
    uint64_t end_ns = chance_boot_ns(self->source);
    self->publish_cost_ns = cost_learnt(self->publish_cost_ns, end_ns - start_ns);
    self->publish_after_ns = end_ns + PUBLISH_PART * self->publish_cost_ns;
    if (status != STATUS_OK)
        return status;
    pthread_mutex_lock(&self->lock);
    snapshot *old = self->published;
    self->published = made;
    pthread_mutex_unlock(&self->lock);
    snapshot_release(old);
    self->unpublished = false;
    self->refresh_at_ms = made->entry_recent > 0 ? end_ns / 1000000U + REFRESH_MS : UINT64_MAX;
    return STATUS_OK;
}

/* A snapshot of a large graph is worth waiting for others to come along. Without memory for one the old one
 * stays, and the next group tries again. */
static void publish_when_due(ingest *self) {
    failure why = {0};
    if (!self->unpublished ||
        (self->publish_cost_ns > PUBLISH_CHEAP_NS && chance_boot_ns(self->source) < self->publish_after_ns))
        return;
    if (publish(self, &why) != STATUS_OK)
        log_failure("cannot publish the graph", &why);
}

/* ---- Groups
 * ------------------------------------------------------------------------------------------------------- */

static size_t group_take(ingest *self) {
    size_t taken = 0;
    size_t cost = 0;
    pthread_mutex_lock(&self->lock);
    while (self->count > 0 && taken < INGEST_QUEUE_MAX) {
        ingest_item *item = &self->queue[self->first];
        if (cost + item->cost > INGEST_GROUP_COST)
            break;
        cost += item->cost;
        self->group[taken++] = *item;
        self->first = (self->first + 1) % INGEST_QUEUE_MAX;
        self->count--;
    }
    pthread_mutex_unlock(&self->lock);
    return taken;
}

/* A request that cannot be applied is answered for itself and does not hold up the others. */
static void item_take(ingest *self, ingest_item *item, int64_t now_ms) {
    item->status = parts_take(&self->parts, &item->request, now_ms, &item->why);
    ingest_kind kind = item->request.kind;
    atomic_fetch_add_explicit(&self->requests[kind], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&self->items[kind], item->cost, memory_order_relaxed);
}

static void refusals_note(ingest *self) {
    for (size_t i = 0; i < SPANS_REFUSALS; i++)
        atomic_store_explicit(&self->refused[i], self->parts.refused[i], memory_order_relaxed);
}

/* Stores what is not stored. A COMMIT whose outcome is unknown must end the process: what it says on the next
 * start is what counts. */
static status_code save(ingest *self, int64_t now_ms, failure *why) {
    uint64_t start_ns = chance_boot_ns(self->source);
    status_code status = parts_save(&self->parts, now_ms, why);
    histogram_observe_ns(&self->save_seconds, chance_boot_ns(self->source) - start_ns);
    if (status == STATUS_DATA_LOSS)
        daemon_abort("cannot store the graph", why);
    self->unstored = status != STATUS_OK;
    atomic_store(&self->failing, self->unstored);
    if (status != STATUS_OK) {
        atomic_fetch_add_explicit(&self->save_failures, 1, memory_order_relaxed);
        self->retry_after_ms = chance_boot_ms(self->source) + RETRY_MS;
        return status;
    }
    self->unpublished = true;
    return STATUS_OK;
}

static void group_answer(ingest *self, size_t count, status_code status, const failure *why) {
    for (size_t i = 0; i < count; i++) {
        ingest_item *item = &self->group[i];
        bool own = status == STATUS_OK && item->status != STATUS_OK;
        item->request.done(item->request.context, own ? item->status : status, own ? &item->why : why);
    }
}

static void group_handle(ingest *self) {
    failure why = {0};
    int64_t now_ms = chance_wall_ms(self->source);
    size_t taken = group_take(self);
    status_code status = self->unstored ? save(self, now_ms, &why) : STATUS_OK;
    if (status == STATUS_OK) {
        model_set_boot_ms(self->parts.traffic, chance_boot_ms(self->source));
        for (size_t i = 0; i < taken; i++)
            item_take(self, &self->group[i], now_ms);
        parts_settle(&self->parts, now_ms);
        refusals_note(self);
        if (parts_changed(&self->parts) || chance_boot_ms(self->source) >= self->refresh_at_ms)
            status = save(self, now_ms, &why);
    }
    publish_when_due(self);
    why.retry_after_ms = status == STATUS_OK ? 0 : RETRY_MS;
    group_answer(self, taken, status, &why);
}

/* ---- The thread
 * --------------------------------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* Milliseconds until there is something to do without being told; -1: nothing. */
static int wait_ms(const ingest *self) {
    uint64_t due_ms = earlier(parts_due(&self->parts), self->refresh_at_ms);
    if (self->unpublished)
        due_ms = earlier(due_ms, self->publish_after_ns / 1000000U + 1);
    if (self->unstored)
        due_ms = self->retry_after_ms;
    uint64_t now_ms = chance_boot_ms(self->source);
    if (due_ms == UINT64_MAX)
        return -1;
    uint64_t wait = due_ms <= now_ms ? 0 : due_ms - now_ms;
    return wait > 60000 ? 60000 : (int)wait;
}

static bool has_work(ingest *self, bool *stopping) {
    pthread_mutex_lock(&self->lock);
    bool waiting = self->count > 0;
    *stopping = self->stopping;
    pthread_mutex_unlock(&self->lock);
    return waiting;
}

static void wait_for_work(ingest *self) {
    struct pollfd wake = {.fd = self->wake, .events = POLLIN};
    uint64_t times;
    if (poll(&wake, 1, wait_ms(self)) > 0 && read(self->wake, &times, sizeof times) < 0 && errno != EAGAIN)
        return;
}

static void *ingest_run(void *context) {
    ingest *self = context;
    bool stopping = false;
    for (;;) {
        if (!has_work(self, &stopping)) {
            if (stopping)
                break;
            wait_for_work(self);
        }
        group_handle(self);
    }
    return NULL;
}

static void wake_up(const ingest *self) {
    uint64_t one = 1;
    /* Full counts as woken. */
    if (write(self->wake, &one, sizeof one) < 0)
        return;
}

status_code ingest_submit(ingest *self, const ingest_request *request, failure *why) {
    size_t cost = parts_cost(request);
    if (cost > INGEST_GROUP_COST)
        return fail(why, STATUS_INVALID_ARGUMENT, "TOO_LARGE",
                    "%zu spans, points or records in one request; send at most %u", cost, INGEST_GROUP_COST);
    pthread_mutex_lock(&self->lock);
    bool room = self->count < INGEST_QUEUE_MAX && !self->stopping;
    if (room)
        self->queue[(self->first + self->count++) % INGEST_QUEUE_MAX] =
            (ingest_item){.request = *request, .cost = cost};
    pthread_mutex_unlock(&self->lock);
    if (room) {
        wake_up(self);
        return STATUS_OK;
    }
    atomic_fetch_add_explicit(&self->turned_away, 1, memory_order_relaxed);
    fail(why, STATUS_RESOURCE_EXHAUSTED, "QUEUE_FULL", "%u requests wait already; send it again later",
         INGEST_QUEUE_MAX);
    if (why != NULL)
        why->retry_after_ms = RETRY_MS;
    return STATUS_RESOURCE_EXHAUSTED;
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code ingest_open(ingest **out, const char *path, const chance *source, failure *why) {
    ingest *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the graph");
    pthread_mutex_init(&self->lock, NULL);
    self->source = source;
    self->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    status_code status = STATUS_OK;
    if (self->wake < 0)
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_DESCRIPTOR", "no descriptor for the graph");
    if (status == STATUS_OK)
        status = parts_open(&self->parts, path, source, why);
    if (status == STATUS_OK)
        status = publish(self, why);
    if (status != STATUS_OK) {
        ingest_close(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

status_code ingest_start(ingest *self, failure *why) {
    if (pthread_create(&self->thread, NULL, ingest_run, self) != 0)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD", "cannot start the ingest thread");
    self->running = true;
    return STATUS_OK;
}

void ingest_stop(ingest *self) {
    if (self == NULL || !self->running)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_mutex_unlock(&self->lock);
    wake_up(self);
    pthread_join(self->thread, NULL);
    self->running = false;
}

void ingest_close(ingest *self) {
    if (self == NULL)
        return;
    ingest_stop(self);
    snapshot_release(self->published);
    parts_close(&self->parts);
    if (self->wake >= 0)
        close(self->wake);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

telemetry *ingest_telemetry(const ingest *self) {
    return self->parts.telemetry;
}

history *ingest_history(const ingest *self) {
    return self->parts.past;
}

uint64_t ingest_log_next(const ingest *self) {
    return graph_store_log_next(self->parts.store);
}

int64_t ingest_wall_ms(const ingest *self) {
    return chance_wall_ms(self->source);
}

const model *ingest_traffic(const ingest *self) {
    return self->parts.traffic;
}

/* ---- What operators see
 * ------------------------------------------------------------------------------------------- */

bool ingest_healthy(const ingest *self) {
    return !atomic_load(&self->failing);
}

static void write_counter(buffer *out, const char *name, const char *help, double value) {
    metrics_family(out, name, "counter", help);
    metrics_sample(out, name, "", value);
}

static void write_gauge(buffer *out, const char *name, const char *help, double value) {
    metrics_family(out, name, "gauge", help);
    metrics_sample(out, name, "", value);
}

static void write_kinds(buffer *out, const char *name, const char *help,
                        const atomic_uint_fast64_t by_kind[INGEST_KINDS]) {
    static const char *const kinds[INGEST_KINDS] = {
        "kind=\"traces\"",  "kind=\"metrics\"",      "kind=\"logs\"",  "kind=\"events\"",
        "kind=\"objects\"", "kind=\"declarations\"", "kind=\"chain\"", "kind=\"drift\""};
    metrics_family(out, name, "counter", help);
    for (size_t i = 0; i < INGEST_KINDS; i++)
        metrics_sample(out, name, kinds[i], (double)atomic_load(&by_kind[i]));
}

static void write_refusals(ingest *self, buffer *out) {
    static const char *const reasons[SPANS_REFUSALS] = {"reason=\"bad_id\"", "reason=\"no_time\"",
                                                        "reason=\"future\"", "reason=\"bad_name\"",
                                                        "reason=\"too_many_services\""};
    metrics_family(out, "interlock_graph_refused_spans_total", "counter", "Spans that were not taken");
    for (size_t i = 0; i < SPANS_REFUSALS; i++)
        metrics_sample(out, "interlock_graph_refused_spans_total", reasons[i],
                       (double)atomic_load(&self->refused[i]));
}

static void write_history(ingest *self, buffer *out) {
    history_counts past = history_count(self->parts.past);
    write_gauge(out, "interlock_graph_history_nodes", "Nodes of all kinds that have been heard of",
                (double)past.nodes);
    write_gauge(out, "interlock_graph_history_edges", "Edges of all kinds that have been heard of",
                (double)past.edges);
    write_gauge(out, "interlock_graph_history_versions", "Statements about them that are kept",
                (double)past.versions);
    write_gauge(out, "interlock_graph_history_segments", "Parts of the past that can be dropped",
                (double)past.segments);
    write_gauge(out, "interlock_graph_history_bytes", "Memory that the history takes, about",
                (double)past.bytes);
    write_counter(out, "interlock_graph_history_late_total",
                  "Statements about a time that had been spoken of", (double)past.late);
    write_counter(out, "interlock_graph_history_refused_total", "Facts beyond the bounds",
                  (double)past.refused);
}

static void write_changes(ingest *self, buffer *out) {
    changes_counts counts = changes_count(self->parts.changes);
    write_gauge(out, "interlock_graph_lanes", "Things whose states changes and declarations tell",
                (double)counts.lanes);
    write_counter(out, "interlock_graph_events_total", "CloudEvents taken", (double)counts.events);
    write_counter(out, "interlock_graph_duplicate_events_total", "CloudEvents taken before, not taken again",
                  (double)counts.duplicates);
    write_counter(out, "interlock_graph_objects_total", "Kubernetes objects taken", (double)counts.objects);
    write_counter(out, "interlock_graph_documents_total", "Documents of declarations taken",
                  (double)counts.documents);
    write_counter(out, "interlock_graph_refused_changes_total", "Events and objects that were refused",
                  (double)counts.refused);
}

void ingest_write_metrics(ingest *self, buffer *out) {
    snapshot *graph = ingest_snapshot(self);
    write_kinds(out, "interlock_graph_requests_total", "Requests taken, by kind", self->requests);
    write_kinds(out, "interlock_graph_items_total", "Spans, data points, records and the like taken, by kind",
                self->items);
    write_refusals(self, out);
    write_counter(out, "interlock_graph_duplicate_spans_total", "Spans seen again, not counted again",
                  (double)graph->totals.duplicates);
    write_counter(out, "interlock_graph_queue_full_total", "Export requests turned away",
                  (double)atomic_load(&self->turned_away));
    write_counter(out, "interlock_graph_save_failures_total", "Commits that failed",
                  (double)atomic_load(&self->save_failures));
    write_gauge(out, "interlock_graph_nodes", "Nodes in the graph, with those only mentioned",
                graph->node_count);
    write_gauge(out, "interlock_graph_edges", "Edges in the graph", graph->edge_count);
    write_gauge(out, "interlock_graph_shapes", "Distinct sets of nodes that entry requests reach",
                graph->shape_count);
    write_gauge(out, "interlock_graph_refused_nodes", "Nodes beyond the bound",
                (double)graph->totals.nodes_refused);
    write_gauge(out, "interlock_graph_refused_edges", "Edges beyond the bound",
                (double)graph->totals.edges_refused);
    write_gauge(out, "interlock_graph_revision", "Revision of the graph", (double)graph->revision);
    write_gauge(out, "interlock_graph_as_of_seconds", "End of the newest span, seconds since 1970",
                (double)graph->as_of_ms / 1000);
    write_history(self, out);
    write_changes(self, out);
    metrics_family(out, "interlock_graph_save_seconds", "histogram", "A group's commit to the store");
    metrics_histogram(out, "interlock_graph_save_seconds", "", &self->save_seconds);
    snapshot_release(graph);
    telemetry_write_metrics(self->parts.telemetry, out);
}
