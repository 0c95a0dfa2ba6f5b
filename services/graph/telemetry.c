/* What metrics and logs have in common: whom they are about, when, and whether they have come before. */
#include "telemetry_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"

/* ---- Whom, and when
 * ---------------------------------------------------------------------------------------------- */

bool telemetry_node(const resource_identity *from, char out[LIMIT_NAME_BYTES], node_kind *kind) {
    bool machine = from->host.size > 0 && from->pod.size == 0 && resource_is_nameless(from);
    *kind = machine ? NODE_HOST : NODE_SERVICE;
    if (machine)
        return resource_host(from, out);
    if (from->name[0] == '\0')
        return false;
    memcpy(out, from->name, LIMIT_NAME_BYTES);
    return true;
}

bool telemetry_time(uint64_t time_ns, int64_t now_ms, int64_t *out_ms, telemetry_refusal *refusal) {
    *refusal = TELEMETRY_NO_TIME;
    if (time_ns == 0)
        return false;
    *refusal = TELEMETRY_FUTURE;
    int64_t time_ms = (int64_t)(time_ns / TELEMETRY_NANOSECONDS_PER_MS);
    if (time_ms > now_ms + LIMIT_CLOCK_SKEW_MS)
        return false;
    *out_ms = time_ms;
    return true;
}

uint64_t telemetry_refused(const telemetry_result *self, const char *items, char *text, size_t size) {
    static const char *const words[TELEMETRY_REFUSALS] = {
        [TELEMETRY_NO_TIME] = "no time",
        [TELEMETRY_FUTURE] = "from the future; check the clock of the source",
        [TELEMETRY_BAD_NAME] = "environment/namespace/name of the service is too long",
        [TELEMETRY_NO_VALUE] = "no value",
        [TELEMETRY_TOO_MANY] = "the graph holds as many nodes as it may",
    };
    uint64_t sum = 0;
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < TELEMETRY_REFUSALS; i++) {
        if (self->refused[i] == 0)
            continue;
        sum += self->refused[i];
        int added = snprintf(text + used, size - used, "%s%llu %s: %s", used == 0 ? "" : "; ",
                             (unsigned long long)self->refused[i], items, words[i]);
        used += added > 0 && used + (size_t)added < size ? (size_t)added : 0;
    }
    return sum;
}

/* ---- What comes again
 * ---------------------------------------------------------------------------------------------- */

uint64_t digest_bytes(uint64_t digest, bytes text) {
    for (size_t i = 0; i < text.size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, text.data + i, text.size - i < 8 ? text.size - i : 8);
        digest = mix64(digest, word);
    }
    return mix64(digest, text.size);
}

bool telemetry_seen(telemetry *self, uint64_t digest) {
    if (recent_find(&self->seen, digest) != RECENT_NONE) {
        self->totals.duplicates++;
        return true;
    }
    telemetry_restore_digest(self, digest);
    if (self->unstored_count == TELEMETRY_SEEN) {
        self->unstored_count--;
        memmove(self->unstored, self->unstored + 1, self->unstored_count * sizeof *self->unstored);
    }
    self->unstored[self->unstored_count++] = digest;
    return false;
}

void telemetry_restore_digest(telemetry *self, uint64_t digest) {
    if (recent_find(&self->seen, digest) != RECENT_NONE)
        return;
    if (recent_full(&self->seen))
        recent_drop_oldest(&self->seen);
    recent_add(&self->seen, digest);
}

size_t telemetry_digests_unstored(const telemetry *self, const uint64_t **digests) {
    *digests = self->unstored;
    return self->unstored_count;
}

void telemetry_mark_stored(telemetry *self) {
    self->unstored_count = 0;
    signals_mark_stored(self->signals);
    templates_mark_stored(self->templates);
}

bool telemetry_changed(const telemetry *self) {
    const uint32_t *numbers;
    return self->unstored_count > 0 || signals_changed_series(self->signals, &numbers) > 0 ||
           signals_changed_buckets(self->signals) > 0 || templates_changed(self->templates, &numbers) > 0 ||
           templates_changed_buckets(self->templates) > 0;
}

/* ---- Names that logs mention
 * ----------------------------------------------------------------------------------------- */

void telemetry_learn_services(telemetry *self) {
    for (; self->services_known < model_node_count(self->traffic); self->services_known++) {
        const model_node *node = model_node_at(self->traffic, self->services_known);
        const char *name = strrchr(node->name, '/');
        /* A name with escapes does not stand in a message as it stands here. */
        if (node->kind == NODE_SERVICE && name != NULL && strchr(name, '%') == NULL)
            templates_know_service(self->templates, name + 1);
    }
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code telemetry_create(telemetry **out, const model *traffic, uint64_t seed, failure *why) {
    telemetry *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for telemetry");
    self->traffic = traffic;
    self->seed = seed;
    status_code status = signals_create(&self->signals, seed, why);
    if (status == STATUS_OK)
        status = templates_create(&self->templates, seed, why);
    if (status == STATUS_OK)
        status = recent_init(&self->seen, TELEMETRY_SEEN, why);
    if (status != STATUS_OK) {
        telemetry_free(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

void telemetry_free(telemetry *self) {
    if (self == NULL)
        return;
    for (uint32_t i = 0; i < self->histogram_room; i++)
        free(self->histograms[i]);
    free(self->histograms);
    recent_free(&self->seen);
    signals_free(self->signals);
    templates_free(self->templates);
    free(self);
}

signals *telemetry_signals(const telemetry *self) {
    return self->signals;
}

templates *telemetry_templates(const telemetry *self) {
    return self->templates;
}

void telemetry_read_begin(telemetry *self) {
    signals_read_begin(self->signals);
}

void telemetry_read_end(telemetry *self) {
    signals_read_end(self->signals);
}

telemetry_totals telemetry_totals_of(const telemetry *self) {
    return self->totals;
}

/* ---- What operators see
 * ------------------------------------------------------------------------------------------- */

typedef struct exposed {
    const char *name, *type, *help;
    double value;
} exposed;

static void exposed_write(buffer *out, const exposed *all, size_t count) {
    for (size_t i = 0; i < count; i++) {
        metrics_family(out, all[i].name, all[i].type, all[i].help);
        metrics_sample(out, all[i].name, "", all[i].value);
    }
}

static void refused_write(const telemetry_totals *totals, buffer *out) {
    static const char *const reasons[TELEMETRY_REFUSALS] = {"reason=\"no_time\"", "reason=\"future\"",
                                                            "reason=\"bad_name\"", "reason=\"no_value\"",
                                                            "reason=\"too_many_nodes\""};
    metrics_family(out, "interlock_graph_refused_telemetry_total", "counter",
                   "Data points and log records that were not taken");
    for (size_t i = 0; i < TELEMETRY_REFUSALS; i++)
        metrics_sample(out, "interlock_graph_refused_telemetry_total", reasons[i],
                       (double)totals->refused[i]);
}

void telemetry_write_metrics(telemetry *self, buffer *out) {
    telemetry_read_begin(self);
    telemetry_totals totals = self->totals;
    signals_totals signal = signals_totals_of(self->signals);
    templates_totals template = templates_totals_of(self->templates);
    flows_totals flow = flows_totals_of(model_flows(self->traffic));
    operations_totals operation = *operations_totals_of(model_operations(self->traffic));
    uint32_t series = signals_series_count(self->signals);
    uint32_t template_count = templates_count(self->templates);
    uint32_t operation_count = operations_count(model_operations(self->traffic)) - 1;
    uint32_t pods = operations_pod_count(model_operations(self->traffic)) - 1;
    telemetry_read_end(self);
    refused_write(&totals, out);
    const exposed all[] = {
        {"interlock_graph_duplicate_requests_total", "counter", "Metrics and logs requests that came again",
         (double)totals.duplicates},
        {"interlock_graph_series", "gauge", "Series of signals", series},
        {"interlock_graph_series_folded_total", "counter", "Points counted in a node's series 'other'",
         (double)signal.series_refused},
        {"interlock_graph_series_resets_total", "counter", "Cumulative sums that began anew",
         (double)signal.resets},
        {"interlock_graph_points_late_total", "counter", "Points older than all that is kept",
         (double)(signal.late + signal.out_of_order)},
        {"interlock_graph_points_not_finite_total", "counter", "Points that are no finite number",
         (double)signal.not_finite},
        {"interlock_graph_buckets", "gauge", "Time buckets kept of signals and flows",
         (double)(signal.buckets + flow.buckets)},
        {"interlock_graph_operations", "gauge", "Operations of services", operation_count},
        {"interlock_graph_operations_folded_total", "counter",
         "Spans whose operation is counted as the service's 'other'", (double)operation.folded},
        {"interlock_graph_pods", "gauge", "Pods of services", pods},
        {"interlock_graph_pods_folded_total", "counter", "Spans and points whose pod is not kept",
         (double)operation.pods_folded},
        {"interlock_graph_flows", "gauge", "Edges and operations with time buckets",
         (double)flow.edges + (double)flow.operations},
        {"interlock_graph_flows_refused_total", "counter", "Calls and requests beyond the bound of flows",
         (double)flow.refused},
        {"interlock_graph_log_templates", "gauge", "Log templates", template_count},
        {"interlock_graph_log_records_total", "counter", "Log records counted", (double)template.messages},
        {"interlock_graph_log_records_folded_total", "counter",
         "Log records counted under a node's template 'other'", (double)template.flooded},
    };
    exposed_write(out, all, sizeof all / sizeof *all);
}
