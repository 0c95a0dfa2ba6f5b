/* Counts per method, and their Prometheus text. */
#include "meter.h"

void meter_handled(meter *self, status_code code, uint64_t elapsed_ns) {
    meter_add(&self->handled[(unsigned)code < METER_CODES ? (unsigned)code : (unsigned)STATUS_UNKNOWN]);
    histogram_observe_ns(&self->seconds, elapsed_ns);
}

static uint64_t value_of(const atomic_uint_fast64_t *count) {
    return atomic_load_explicit(count, memory_order_relaxed);
}

static void add(atomic_uint_fast64_t *sum, const atomic_uint_fast64_t *from) {
    atomic_store_explicit(sum, value_of(sum) + value_of(from), memory_order_relaxed);
}

void meter_sum(meter *sum, const meter *from) {
    /* Handled first: read in this order, in flight (started less handled) never comes out negative. */
    for (unsigned i = 0; i < METER_CODES; i++)
        add(&sum->handled[i], &from->handled[i]);
    add(&sum->started, &from->started);
    add(&sum->shed, &from->shed);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        add(&sum->seconds.buckets[i], &from->seconds.buckets[i]);
    add(&sum->seconds.sum_ns, &from->seconds.sum_ns);
}

static const struct {
    const char *name, *type, *help;
} families[METER_FAMILIES] = {
    [METER_STARTED] = {"interlock_rpc_started_total", "counter", "Calls that arrived."},
    [METER_HANDLED] = {"interlock_rpc_handled_total", "counter", "Calls that ended, by gRPC status code."},
    [METER_IN_FLIGHT] = {"interlock_rpc_in_flight", "gauge", "Calls that arrived and have not ended."},
    [METER_SECONDS] = {"interlock_rpc_seconds", "histogram",
                       "From arrival to the end of a call, in seconds."},
    [METER_SHED] = {"interlock_rpc_shed_total", "counter", "Calls refused because too many were in flight."},
};

void meter_write_head(buffer *out, meter_family family) {
    metrics_family(out, families[family].name, families[family].type, families[family].help);
}

static void write_handled(buffer *out, const char *path, const meter *sum) {
    for (unsigned code = 0; code < METER_CODES; code++) {
        uint64_t count = value_of(&sum->handled[code]);
        if (count == 0 && code != STATUS_OK)
            continue;
        buffer labels;
        buffer_init(&labels, 1024);
        metrics_label(&labels, "method", path);
        metrics_label(&labels, "code", status_name((status_code)code));
        if (buffer_ok(&labels))
            metrics_sample(out, families[METER_HANDLED].name, labels.data, (double)count);
        buffer_free(&labels);
    }
}

static uint64_t in_flight(const meter *sum) {
    uint64_t handled = 0, started = value_of(&sum->started);
    for (unsigned i = 0; i < METER_CODES; i++)
        handled += value_of(&sum->handled[i]);
    return started > handled ? started - handled : 0;
}

void meter_write(buffer *out, meter_family family, const char *path, const meter *sum) {
    if (family == METER_HANDLED) {
        write_handled(out, path, sum);
        return;
    }
    buffer labels;
    buffer_init(&labels, 1024);
    metrics_label(&labels, "method", path);
    if (!buffer_ok(&labels))
        ;
    else if (family == METER_SECONDS)
        metrics_histogram(out, families[family].name, labels.data, &sum->seconds);
    else if (family == METER_IN_FLIGHT)
        metrics_sample(out, families[family].name, labels.data, (double)in_flight(sum));
    else
        metrics_sample(out, families[family].name, labels.data,
                       (double)value_of(family == METER_STARTED ? &sum->started : &sum->shed));
    buffer_free(&labels);
}
