/* What the graph's history takes at scale, without a network: a generated production of N services and 20 N
 * edges with up to ten million versions, changing while it runs, in a real file (synchronous=FULL). One JSON
 * line a figure; the arguments are the number of services, the number of versions, and a folder.
 *
 * graph.snapshot_ms: p99 of the whole graph at a random past instant of both times. graph.node_us: p99 of one
 * node or edge at one. graph.bytes_per_edge: resident memory that opening the history adds, over the edges
 * that are live. graph.start_ms: opening it. graph.version_us: CPU time of a version from the fact to the
 * disk, in commits of 4,096. graph.disk_bytes_per_version. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "history.h"
#include "load.h"
#include "picture.h"
#include "production.h"

#define START_MS 1700000000000
#define COMMIT_FACTS 4096U
#define SNAPSHOTS 60U
#define NODES 20000U

extern const char graph_schema_sql[];

typedef struct bench {
    production production;
    char path[512];
    uint64_t versions;
    store file;
    history *history;
    uint64_t revision;
    uint32_t uncommitted;
    uint64_t commit_worst_ns;
    failure why;
} bench;

static bench self;

static void must(status_code code) {
    if (code != STATUS_OK)
        give_up(self.why.message);
}

static double resident_bytes(void) {
    char line[128] = "";
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fgets(line, sizeof line, file) == NULL)
        give_up("no /proc/self/statm");
    fclose(file);
    const char *resident = strchr(line, ' ');
    return resident == NULL ? 0 : strtod(resident, NULL) * (double)sysconf(_SC_PAGESIZE);
}

static void history_load(void) {
    must(store_open(&self.file, self.path, 1, graph_schema_sql, NULL, STORE_DURABLE, &self.why));
    must(history_open(&self.history, &self.file, self.path, NULL, chance_system(), &self.why));
}

static void history_unload(void) {
    history_close(self.history);
    store_close(&self.file);
}

/* ---- Facts
 * -----------------------------------------------------------------------------------------------------------
 */

static void commit(void) {
    uint64_t start_ns = now_ns();
    must(store_begin(&self.file, &self.why));
    must(history_put(self.history, ++self.revision, &self.why));
    must(store_commit(&self.file, &self.why));
    history_stored(self.history);
    uint64_t took_ns = now_ns() - start_ns;
    if (took_ns > self.commit_worst_ns)
        self.commit_worst_ns = took_ns;
    self.uncommitted = 0;
}

static void fact_names(production_what what, uint32_t number, fact *out, char name[64], char to[64]) {
    const production_edge *edge = &self.production.edges[number];
    out->is_edge = what != PRODUCTION_SERVICE_STATED;
    out->kind = !out->is_edge ? NODE_SERVICE : edge->asynchronous ? EDGE_PUBLISHES : EDGE_CALLS;
    production_name(out->is_edge ? edge->from : number, name);
    if (out->is_edge)
        production_name(edge->to, to);
    out->name = name;
    out->to = to;
}

static void state(const production_change *change) {
    char name[64];
    char to[64];
    char value[32];
    attribute said = {.key = "version", .value = value};
    fact what = {.source = PROVENANCE_OBSERVED,
                 .confidence = 1,
                 .origin = "otlp",
                 .valid_from_ms = change->valid_ms,
                 .valid_to_ms = HISTORY_OPEN,
                 .attributes = &said,
                 .attribute_count = 1};
    snprintf(value, sizeof value, "%llx", (unsigned long long)change->value);
    fact_names(change->what, change->number, &what, name, to);
    if (change->what == PRODUCTION_EDGE_GONE)
        must(history_retract(self.history, &what, change->valid_ms, change->recorded_ms, &self.why));
    else
        must(history_assert(self.history, &what, change->recorded_ms, &self.why));
    if (++self.uncommitted == COMMIT_FACTS)
        commit();
}

static void production_state(void) {
    for (uint32_t i = 0; i < self.production.service_count + self.production.edge_count; i++) {
        bool is_edge = i >= self.production.service_count;
        production_change first = {.what = is_edge ? PRODUCTION_EDGE_STATED : PRODUCTION_SERVICE_STATED,
                                   .number = is_edge ? i - self.production.service_count : i,
                                   .value = i % 1000,
                                   .valid_ms = START_MS,
                                   .recorded_ms = START_MS};
        state(&first);
    }
}

/* A month, whatever the number of changes. */
static void production_run(void) {
    uint64_t start_ns = process_cpu_ns(getpid());
    uint64_t wall_ns = now_ns();
    production_state();
    double step_ms = 30.0 * 24 * 3600 * 1000 / (double)self.versions;
    while (history_count(self.history).versions < self.versions)
        for (unsigned i = 0; i < COMMIT_FACTS; i++) {
            production_change next = production_next(&self.production, step_ms);
            state(&next);
        }
    commit();
    double count = (double)history_count(self.history).versions;
    figure("graph.version_us", (double)(process_cpu_ns(getpid()) - start_ns) / count / 1e3, "us");
    figure("graph.versions_per_second", count / ((double)(now_ns() - wall_ns) / 1e9), "1/s");
    figure("graph.commit_worst_ms", (double)self.commit_worst_ns / 1e6, "ms");
    figure("graph.versions", count, "");
}

/* ---- Questions
 * ------------------------------------------------------------------------------------------------------- */

static instant instant_draw(void) {
    int64_t span_ms = self.production.now_ms - START_MS;
    instant at = {START_MS + (int64_t)(production_chance(&self.production) * (double)span_ms), HISTORY_OPEN};
    if (production_draw(&self.production, 2) == 0)
        at.recorded_ms = at.valid_ms + (int64_t)(production_chance(&self.production) *
                                                 (double)(self.production.now_ms - at.valid_ms));
    return at;
}

static int double_compare(const void *left, const void *right) {
    double a = *(const double *)left;
    double b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static void figures(const char *name, double *took, unsigned count, const char *unit) {
    char middle[64];
    qsort(took, count, sizeof *took, double_compare);
    snprintf(middle, sizeof middle, "%s_p50", name);
    figure(name, took[count * 99 / 100], unit);
    figure(middle, took[count / 2], unit);
}

static void snapshots_take(history_reader *reader) {
    double took[SNAPSHOTS];
    double used[SNAPSHOTS];
    uint64_t edges = 0;
    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        picture all = {0};
        instant at = instant_draw();
        uint64_t start_ns = now_ns();
        uint64_t used_ns = process_cpu_ns(getpid());
        must(picture_make(reader, at, &all, &self.why));
        took[i] = (double)(now_ns() - start_ns) / 1e6;
        used[i] = (double)(process_cpu_ns(getpid()) - used_ns) / 1e6;
        edges += all.edge_count;
        picture_free(&all);
    }
    figures("graph.snapshot_ms", took, SNAPSHOTS, "ms");
    figures("graph.snapshot_cpu_ms", used, SNAPSHOTS, "ms");
    figure("graph.snapshot_edges", (double)edges / SNAPSHOTS, "");
}

static void nodes_take(history_reader *reader) {
    static double took[NODES];
    arena memory;
    arena_init(&memory, 65536, 1U << 20);
    for (unsigned i = 0; i < NODES; i++) {
        char name[64];
        char to[64];
        fact what = {0};
        history_item item = {0};
        bool is_edge = production_draw(&self.production, 2) == 0 && self.production.edge_count > 0;
        uint32_t below = is_edge ? self.production.edge_count : self.production.service_count;
        fact_names(is_edge ? PRODUCTION_EDGE_STATED : PRODUCTION_SERVICE_STATED,
                   production_draw(&self.production, below), &what, name, to);
        instant at = instant_draw();
        uint64_t start_ns = now_ns();
        must(history_read_at(reader, &what, at, &memory, &item, &self.why));
        took[i] = (double)(now_ns() - start_ns) / 1e3;
        arena_reset(&memory);
    }
    arena_free(&memory);
    figures("graph.node_us", took, NODES, "us");
}

/* In a process of its own, so that the memory is that of a service that was just started. */
static void start_measure(void) {
    double before = resident_bytes();
    uint64_t start_ns = now_ns();
    history_load();
    figure("graph.start_ms", (double)(now_ns() - start_ns) / 1e6, "ms");
    double grown = resident_bytes() - before;
    history_reader *reader = NULL;
    picture now = {0};
    must(history_reader_open(&reader, self.history, &self.why));
    must(picture_make(reader, INSTANT_NOW, &now, &self.why));
    figure("graph.bytes_per_edge", now.edge_count == 0 ? 0 : grown / now.edge_count, "bytes");
    figure("graph.live_edges", now.edge_count, "");
    picture_free(&now);
    struct stat found;
    if (stat(self.path, &found) == 0)
        figure("graph.disk_bytes_per_version",
               (double)found.st_size / (double)history_count(self.history).versions, "bytes");
    history_reader_close(reader);
}

static void questions_ask(void) {
    history_reader *reader = NULL;
    must(history_reader_open(&reader, self.history, &self.why));
    snapshots_take(reader);
    nodes_take(reader);
    history_reader_close(reader);
}

int main(int argc, char **argv) {
    uint32_t services = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000;
    self.versions = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    snprintf(self.path, sizeof self.path, "%s/graph.db", argc > 3 ? argv[3] : ".");
    bool again = argc > 4 && strcmp(argv[4], "start") == 0;
    if (services < 10 || !production_make(&self.production, services, services * 20U, 1, START_MS))
        give_up("usage: graph_scale_bench SERVICES VERSIONS FOLDER [start]; at least 10 services");
    if (again) {
        start_measure();
    } else {
        history_load();
        production_run();
        questions_ask();
    }
    history_unload();
    production_free(&self.production);
    return 0;
}
