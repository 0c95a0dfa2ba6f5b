/* The history against a model that keeps everything: a grid of valid time for each timeline, copied at each
 * commit. Statements come late and out of order, commits seal, the file is closed and opened again. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "history.h"
#include "history_codec.h"
#include "picture.h"

#define CELL_MS 7000
#define CELLS 400
#define NODES 4
#define EDGES 3
#define ORIGINS 2
#define LINES ((NODES + EDGES) * ORIGINS)
#define COMMITS 300
#define UNKNOWN 0xff

static const char *const node_names[NODES] = {"service:p/s/a", "service:p/s/b", "config:p/s/c",
                                              "datastore:p/s/d"};
static const int node_kinds[NODES] = {1, 1, 9, 3};
static const uint8_t edge_ends[EDGES][2] = {{0, 1}, {1, 3}, {0, 0}};
static const char *const origins[ORIGINS] = {"otlp", "declaration:x"};

extern const char graph_schema_sql[];

typedef struct world {
    char folder[64], path[96];
    store file;
    history *history;
    history_reader *reader;
    history_limits limits;
    uint64_t revision;
    uint64_t state;
    /* What is expected: now, and as of each commit. */
    uint8_t now[LINES][CELLS];
    uint8_t (*past)[LINES][CELLS];
    int64_t recorded_ms[COMMITS];
    uint32_t commits;
    uint64_t late;
} world;

static failure why;

#define MUST(call)                                                                                           \
    do {                                                                                                     \
        if ((call) != STATUS_OK) {                                                                           \
            print_error("%s: %s\n", why.reason, why.message);                                                \
            assert_string_equal(#call, "");                                                                  \
        }                                                                                                    \
    } while (0)

static uint32_t draw(world *self, uint32_t below) {
    uint64_t word = self->state += 0x9e3779b97f4a7c15U;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9U;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebU;
    return (uint32_t)((word ^ (word >> 31)) >> 32) % below;
}

static void world_load(world *self) {
    MUST(store_open(&self->file, self->path, 1, graph_schema_sql, NULL, STORE_DURABLE, &why));
    MUST(history_open(&self->history, &self->file, self->path, &self->limits, chance_system(), &why));
    MUST(history_reader_open(&self->reader, self->history, &why));
}

static void world_unload(world *self) {
    self->late += history_count(self->history).late;
    history_reader_close(self->reader);
    history_close(self->history);
    store_close(&self->file);
}

static void world_open(world *self, uint64_t seed) {
    *self = (world){.state = seed};
    snprintf(self->folder, sizeof self->folder, "/tmp/history-XXXXXX");
    assert_non_null(mkdtemp(self->folder));
    snprintf(self->path, sizeof self->path, "%s/graph.db", self->folder);
    memset(self->now, UNKNOWN, sizeof self->now);
    self->past = calloc(COMMITS, sizeof *self->past);
    self->limits.seal_changes = 12;
    world_load(self);
}

static void world_close(world *self) {
    char command[160];
    world_unload(self);
    free(self->past);
    snprintf(command, sizeof command, "rm -r %s", self->folder);
    assert_int_equal(system(command), 0);
}

static void world_commit(world *self) {
    MUST(store_begin(&self->file, &why));
    MUST(history_put(self->history, ++self->revision, &why));
    MUST(store_commit(&self->file, &why));
    history_stored(self->history);
}

static fact line_fact(unsigned line) {
    unsigned thing = line / ORIGINS;
    fact what = {.origin = origins[line % ORIGINS],
                 .source = line % ORIGINS == 0 ? PROVENANCE_OBSERVED : 2,
                 .valid_to_ms = HISTORY_OPEN,
                 .confidence = 1};
    if (thing < NODES) {
        what.kind = node_kinds[thing];
        what.name = node_names[thing];
    } else {
        what.is_edge = true;
        what.kind = EDGE_CALLS;
        what.name = node_names[edge_ends[thing - NODES][0]];
        what.to = node_names[edge_ends[thing - NODES][1]];
    }
    return what;
}

/* ---- The model
 * ------------------------------------------------------------------------------------------------------ */

static void model_fill(uint8_t *cells, unsigned from, unsigned to, uint8_t value) {
    memset(cells + from, value, to - from);
}

static void model_open(uint8_t *cells, unsigned from, uint8_t value) {
    if (cells[from] == value)
        return;
    unsigned to = from;
    while (to < CELLS && cells[to] == cells[from])
        to++;
    while (to < CELLS && cells[to] == value)
        to++;
    model_fill(cells, from, to, value);
}

static void model_interval(uint8_t *cells, unsigned from, unsigned to, uint8_t value) {
    model_fill(cells, from, to, value);
    for (unsigned i = to; i < CELLS && cells[i] == UNKNOWN; i++)
        cells[i] = 0;
}

/* ---- Steps
 * ------------------------------------------------------------------------------------------------------ */

static void step_state(world *self, int64_t recorded_ms) {
    static const char *const texts[] = {"", "one", "two", "three"};
    unsigned line = draw(self, LINES);
    unsigned most = (unsigned)((recorded_ms + HISTORY_FUTURE_MS) / CELL_MS);
    unsigned back = draw(self, 3) == 0 ? draw(self, most + 1) : draw(self, 8);
    unsigned from = most > back ? most - back : 0;
    unsigned to = from + 1 + draw(self, 12);
    uint8_t value = (uint8_t)draw(self, 4);
    fact what = line_fact(line);
    attribute text = {.key = "text", .value = texts[value]};
    what.valid_from_ms = (int64_t)from * CELL_MS;
    what.attributes = &text;
    what.attribute_count = 1;
    if (value == 0) {
        MUST(history_retract(self->history, &what, what.valid_from_ms, recorded_ms, &why));
        model_open(self->now[line], from, 0);
    } else if (to <= most && draw(self, 3) == 0) {
        what.valid_to_ms = (int64_t)to * CELL_MS;
        MUST(history_assert(self->history, &what, recorded_ms, &why));
        model_interval(self->now[line], from, to, value);
    } else {
        MUST(history_assert(self->history, &what, recorded_ms, &why));
        model_open(self->now[line], from, value);
    }
}

static uint8_t said_value(const version *said) {
    if (!said->present)
        return 0;
    assert_int_equal(said->attribute_count, 1);
    return said->attributes[0].value[0] == 'o' ? 1 : said->attributes[0].value[1] == 'w' ? 2 : 3;
}

/* What is expected of a line at an instant. */
static uint8_t expected(const world *self, unsigned line, instant at) {
    uint32_t commit = 0;
    while (commit < self->commits && self->recorded_ms[commit] <= at.recorded_ms)
        commit++;
    int64_t cell = at.valid_ms / CELL_MS;
    return commit == 0 ? UNKNOWN : self->past[commit - 1][line][cell < CELLS ? cell : CELLS - 1];
}

static void check_thing(world *self, unsigned thing, instant at) {
    arena memory;
    arena_init(&memory, 65536, 1U << 20);
    fact what = line_fact(thing * ORIGINS);
    history_item item = {0};
    status_code status = history_read_at(self->reader, &what, at, &memory, &item, &why);
    if (status != STATUS_NOT_FOUND)
        assert_int_equal(status, STATUS_OK);
    for (unsigned origin = 0; origin < ORIGINS; origin++) {
        uint8_t said = UNKNOWN;
        for (size_t i = 0; i < item.version_count; i++)
            if (strcmp(item.versions[i].origin, origins[origin]) == 0)
                said = said_value(&item.versions[i]);
        assert_int_equal(said, expected(self, thing * ORIGINS + origin, at));
    }
    arena_free(&memory);
}

/* The declaration before what is observed; `thing` in the picture, or UINT32_MAX. */
static void check_shown(world *self, unsigned thing, instant at, uint32_t value) {
    uint8_t declared = expected(self, thing * ORIGINS + 1, at);
    uint8_t observed = expected(self, thing * ORIGINS, at);
    bool is_declared = declared != 0 && declared != UNKNOWN;
    uint8_t shown = is_declared ? declared : observed == UNKNOWN ? 0 : observed;
    arena memory;
    arena_init(&memory, 4096, 1U << 20);
    version said = {.present = true};
    if (value != 0)
        MUST(history_read_value(self->reader, value, &memory, &said, &why));
    assert_int_equal(value == 0 ? 0 : said_value(&said), shown);
    if (value != 0)
        assert_int_equal(said.source, is_declared ? 2 : PROVENANCE_OBSERVED);
    arena_free(&memory);
}

static void check_picture(world *self, instant at) {
    picture all = {0};
    MUST(picture_make(self->reader, at, &all, &why));
    for (unsigned thing = 0; thing < NODES; thing++) {
        uint32_t place = picture_find(&all, node_names[thing]);
        check_shown(self, thing, at, place == HISTORY_NONE ? 0 : all.nodes[place].value);
    }
    for (unsigned thing = 0; thing < EDGES; thing++) {
        uint32_t value = 0;
        for (uint32_t i = 0; i < all.edge_count; i++)
            if (strcmp(all.nodes[all.edges[i].from].name, node_names[edge_ends[thing][0]]) == 0 &&
                strcmp(all.nodes[all.edges[i].to].name, node_names[edge_ends[thing][1]]) == 0)
                value = all.edges[i].value;
        check_shown(self, NODES + thing, at, value);
    }
    picture_free(&all);
}

static const version *version_at(const history_item *item, const char *origin, instant at) {
    const version *found = NULL;
    for (size_t i = 0; i < item->version_count; i++) {
        const version *said = &item->versions[i];
        if (strcmp(said->origin, origin) != 0 || at.valid_ms < said->valid_from_ms ||
            at.valid_ms >= said->valid_to_ms || at.recorded_ms < said->recorded_from_ms ||
            at.recorded_ms >= said->recorded_to_ms)
            continue;
        assert_null(found); /* no two versions hold at one instant */
        found = said;
    }
    return found;
}

/* Versions tile both times: each instant is in at most one, and it says what is expected. */
static void check_past(world *self, unsigned thing) {
    arena memory;
    arena_init(&memory, 65536, 16U << 20);
    fact what = line_fact(thing * ORIGINS);
    history_item item = {0};
    if (history_read_past(self->reader, &what, 0, 5000, &memory, &item, &why) == STATUS_OK) {
        assert_false(item.more);
        for (int i = 0; i < 40; i++) {
            instant at = {draw(self, CELLS - 50) * CELL_MS, draw(self, (CELLS - 50) * CELL_MS)};
            for (unsigned origin = 0; origin < ORIGINS; origin++) {
                const version *said = version_at(&item, origins[origin], at);
                uint8_t value = said == NULL ? UNKNOWN : said_value(said);
                assert_int_equal(value, expected(self, thing * ORIGINS + origin, at));
            }
        }
    }
    arena_free(&memory);
}

static void random_life(uint64_t seed) {
    world self;
    world_open(&self, seed);
    int64_t now_ms = 60000;
    for (uint32_t commit = 0; commit < 150; commit++) {
        now_ms += 1 + draw(&self, draw(&self, 4) == 0 ? 40000 : 9000);
        for (uint32_t i = draw(&self, 6); i > 0; i--)
            step_state(&self, now_ms);
        if (history_changed(self.history)) {
            self.recorded_ms[self.commits] = now_ms;
            memcpy(self.past[self.commits++], self.now, sizeof self.now);
            world_commit(&self);
        }
        if (draw(&self, 40) == 0) {
            world_unload(&self);
            world_load(&self);
        }
        instant at = {(int64_t)draw(&self, (uint32_t)now_ms + 60000),
                      draw(&self, 2) == 0 ? HISTORY_OPEN : (int64_t)draw(&self, (uint32_t)now_ms + 5)};
        check_thing(&self, draw(&self, NODES + EDGES), at);
        check_picture(&self, at);
        check_picture(&self, (instant){now_ms, HISTORY_OPEN});
    }
    for (unsigned thing = 0; thing < NODES + EDGES; thing++)
        check_past(&self, thing);
    assert_true(history_count(self.history).segments > 5);
    assert_true(self.late + history_count(self.history).late > 5);
    world_close(&self);
}

static void test_random(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++)
        random_life(seed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
