/* The history against a model that keeps everything: a grid of valid time for each timeline, copied at each
 * commit. Statements come late and out of order, commits seal, the file is closed and opened again. */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
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
    int64_t
        latest_ms; /* nothing comes later than this, because what it would fall between is not kept; 0: any */
    bool folds;    /* of kinds 1, only what is so now is compared */
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
    if (self->latest_ms > 0 && back > self->latest_ms / CELL_MS)
        back = (unsigned)(self->latest_ms / CELL_MS);
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

/* What is no longer kept is refused, and only that. */
static bool is_kept(world *self, instant at, status_code status) {
    if (status != STATUS_OUT_OF_RANGE)
        return true;
    int64_t oldest_ms = history_count(self->history).oldest_ms;
    assert_true(at.valid_ms < oldest_ms || at.recorded_ms < oldest_ms);
    return false;
}

static bool is_folded(const world *self, unsigned thing) {
    return self->folds && line_fact(thing * ORIGINS).kind == 1;
}

static void check_thing(world *self, unsigned thing, instant at) {
    arena memory;
    arena_init(&memory, 65536, 1U << 20);
    fact what = line_fact(thing * ORIGINS);
    history_item item = {0};
    status_code status = history_read_at(self->reader, &what, at, &memory, &item, &why);
    bool kept = is_kept(self, at, status);
    if (kept && status != STATUS_NOT_FOUND)
        assert_int_equal(status, STATUS_OK);
    for (unsigned origin = 0; kept && !is_folded(self, thing) && origin < ORIGINS; origin++) {
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
    status_code status = picture_make(self->reader, at, &all, &why);
    if (!is_kept(self, at, status))
        return;
    assert_int_equal(status, STATUS_OK);
    for (unsigned thing = 0; thing < NODES; thing++) {
        if (is_folded(self, thing) && at.recorded_ms != HISTORY_OPEN)
            continue;
        uint32_t place = picture_find(&all, node_names[thing]);
        check_shown(self, thing, at, place == HISTORY_NONE ? 0 : all.nodes[place].value);
    }
    for (unsigned thing = 0; thing < EDGES; thing++) {
        uint32_t value = 0;
        if (is_folded(self, NODES + thing) && at.recorded_ms != HISTORY_OPEN)
            continue;
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

static void random_life(uint64_t seed, int64_t keep_ms, int64_t fold_ms) {
    world self;
    world_open(&self, seed);
    self.limits.keep_ms = keep_ms;
    self.limits.keep_node_ms[1] = self.limits.keep_edge_ms[1] = fold_ms;
    self.limits.keep_changes_ms = 100000;
    self.folds = fold_ms > 0;
    self.latest_ms = fold_ms > 0 ? fold_ms : keep_ms;
    history_limit(self.history, &self.limits);
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
        if (self.folds && at.recorded_ms == HISTORY_OPEN)
            at.valid_ms = now_ms;
        check_thing(&self, draw(&self, NODES + EDGES), at);
        check_picture(&self, at);
        check_picture(&self, (instant){now_ms, HISTORY_OPEN});
    }
    for (unsigned thing = 0; thing < NODES + EDGES && keep_ms == 0 && fold_ms == 0; thing++)
        check_past(&self, thing);
    assert_true(history_count(self.history).segments > 3);
    assert_int_equal(history_count(self.history).oldest_ms > INT64_MIN, keep_ms > 0);
    assert_true(self.late + history_count(self.history).late > 5);
    world_close(&self);
}

static void test_random(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++)
        random_life(seed, 0, 0);
}

static void test_random_with_retention(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++)
        random_life(seed, 400000, 0);
}

static void test_random_with_folds(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++)
        random_life(seed, seed % 2 == 0 ? 0 : 800000, 200000);
}

/* ---- Single rules
 * ------------------------------------------------------------------------------------------------------- */

static fact cart(int64_t from_ms) {
    return (fact){.kind = 1,
                  .name = "service:p/s/cart",
                  .origin = "otlp",
                  .source = PROVENANCE_OBSERVED,
                  .confidence = 0.3,
                  .valid_from_ms = from_ms,
                  .valid_to_ms = HISTORY_OPEN};
}

static void test_bad_facts(void **state) {
    static const attribute twice[] = {{"a", "1"}, {"a", "2"}};
    static const attribute binary[] = {{"a", "\xff"}};
    static char text[HISTORY_ATTRIBUTE_BYTES + 1];
    const attribute large[] = {{"a", text}};
    attribute many[HISTORY_ATTRIBUTES_MAX + 1] = {0};
    const int64_t now_ms = 1000000;
    (void)state;
    memset(text, 'x', sizeof text - 1);
    world self;
    world_open(&self, 1);
    fact cases[] = {cart(1), cart(1), cart(1), cart(1), cart(1), cart(1), cart(1),
                    cart(1), cart(1), cart(1), cart(1), cart(1), cart(1), cart(1)};
    cases[0].name = "cart";
    cases[1].kind = 2;
    cases[2].is_edge = true;
    cases[3].source = 0;
    cases[4].confidence = 1.5;
    cases[5].origin = "";
    cases[6].valid_from_ms = now_ms + HISTORY_FUTURE_MS + 1;
    cases[7].valid_to_ms = 1;
    cases[8].valid_to_ms = now_ms + HISTORY_FUTURE_MS + 1;
    cases[9].valid_from_ms = -1;
    cases[10].attributes = twice;
    cases[10].attribute_count = 2;
    cases[11].attributes = binary;
    cases[11].attribute_count = 1;
    cases[12].attributes = large;
    cases[12].attribute_count = 1;
    cases[13].attributes = many;
    cases[13].attribute_count = HISTORY_ATTRIBUTES_MAX + 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(history_assert(self.history, &cases[i], now_ms, &why), STATUS_INVALID_ARGUMENT);
        assert_string_equal(why.reason, i == 0             ? "BAD_NAME"
                                        : i == 6 || i == 8 ? "FROM_THE_FUTURE"
                                                           : "BAD_FACT");
    }
    assert_false(history_changed(self.history));
    world_close(&self);
}

static uint64_t versions(world *self) {
    world_commit(self);
    return history_count(self->history).versions;
}

/* The same again, and the same for a time in which it was so already, make no version; an earlier beginning
 * does. */
static void test_duplicates(void **state) {
    (void)state;
    world self;
    world_open(&self, 1);
    fact what = cart(500000);
    MUST(history_assert(self.history, &what, 600000, &why));
    assert_int_equal(versions(&self), 1);
    MUST(history_assert(self.history, &what, 700000, &why));
    what.valid_from_ms = 650000;
    MUST(history_assert(self.history, &what, 700000, &why));
    assert_false(history_changed(self.history));
    what.valid_from_ms = 400000;
    MUST(history_assert(self.history, &what, 700000, &why));
    assert_int_equal(versions(&self), 2);
    arena memory;
    arena_init(&memory, 4096, 1U << 20);
    history_item item = {0};
    MUST(history_read_at(self.reader, &what, (instant){450000, 650000}, &memory, &item, &why));
    assert_int_equal(item.version_count, 0);
    MUST(history_read_at(self.reader, &what, (instant){450000, HISTORY_OPEN}, &memory, &item, &why));
    assert_int_equal(item.versions[0].valid_from_ms, 400000);
    assert_true(item.versions[0].confidence == 0.3);
    arena_free(&memory);
    world_close(&self);
}

static void node_is(world *self, const char *name, const char *goes_by, size_t versions_said) {
    arena memory;
    arena_init(&memory, 4096, 1U << 20);
    history_item item = {0};
    fact what = {.name = name};
    MUST(history_read_at(self->reader, &what, INSTANT_NOW, &memory, &item, &why));
    assert_string_equal(item.name, goes_by);
    assert_int_equal(item.version_count, versions_said);
    arena_free(&memory);
}

/* A node keeps its past, its edges and its old names through any number of renames and a restart. */
static void test_rename(void **state) {
    (void)state;
    world self;
    world_open(&self, 1);
    fact what = cart(500000);
    fact other = cart(500000);
    other.name = "service:p/s/other";
    MUST(history_assert(self.history, &what, 600000, &why));
    MUST(history_assert(self.history, &other, 600000, &why));
    assert_int_equal(history_rename(self.history, what.name, "queue:p/s/q", 600000, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_int_equal(history_rename(self.history, what.name, other.name, 600000, &why),
                     STATUS_ALREADY_EXISTS);
    assert_string_equal(why.reason, "NAME_TAKEN");
    MUST(history_rename(self.history, what.name, "service:p/s/basket", 600000, &why));
    what.valid_from_ms = 550000;
    MUST(history_assert(self.history, &what, 600000, &why)); /* by the old name: nothing new */
    assert_int_equal(versions(&self), 2);
    MUST(history_retract(self.history, &other, 600000, 600000, &why));
    MUST(
        history_rename(self.history, "service:p/s/basket", other.name, 600000, &why)); /* nobody's any more */
    world_commit(&self);
    for (unsigned times = 0; times < 2; times++) {
        node_is(&self, "service:p/s/cart", other.name, 1);
        node_is(&self, "service:p/s/basket", other.name, 1);
        node_is(&self, other.name, other.name, 1);
        assert_string_equal(history_resolve(self.history, "service:p/s/cart"), other.name);
        world_unload(&self);
        world_load(&self);
    }
    MUST(history_rename(self.history, other.name, "service:p/s/cart", 700000, &why)); /* and back */
    world_commit(&self);
    node_is(&self, other.name, "service:p/s/cart", 1);
    world_close(&self);
}

/* What was not committed is not shown, and not lost when it is tried again. */
static void test_rollback(void **state) {
    (void)state;
    world self;
    world_open(&self, 1);
    fact what = cart(500000);
    for (unsigned i = 0; i < 40; i++) {
        what.valid_from_ms = 500000 + i;
        what.confidence = i % 2;
        MUST(history_assert(self.history, &what, 600000 + i, &why));
        MUST(store_begin(&self.file, &why));
        MUST(history_put(self.history, self.revision + 1, &why));
        store_rollback(&self.file);
        assert_int_equal(history_count(self.history).versions, i);
        assert_int_equal(versions(&self), i + 1);
    }
    world_unload(&self);
    world_load(&self);
    assert_int_equal(history_count(self.history).versions, 40);
    world_close(&self);
}

/* ---- Threads
 * ------------------------------------------------------------------------------------------------------------
 */

typedef struct looking {
    history *of;
    atomic_bool ended;
    unsigned pictures, different;
    bool failed;
} looking;

static double said_of(history_reader *reader, const picture *all, const char *name) {
    uint32_t place = picture_find(all, name);
    version said = {.confidence = -1};
    failure inner = {0};
    arena memory;
    arena_init(&memory, 4096, 1U << 20);
    if (place != HISTORY_NONE &&
        history_read_value(reader, all->nodes[place].value, &memory, &said, &inner) != STATUS_OK)
        said.confidence = -2;
    arena_free(&memory);
    return said.confidence;
}

static void *look(void *context) {
    looking *self = context;
    history_reader *reader = NULL;
    failure inner = {0};
    self->failed = history_reader_open(&reader, self->of, &inner) != STATUS_OK;
    while (!self->failed && !atomic_load(&self->ended)) {
        picture all = {0};
        self->failed = picture_make(reader, INSTANT_NOW, &all, &inner) != STATUS_OK;
        if (self->failed)
            break;
        self->different +=
            said_of(reader, &all, "service:p/s/cart") != said_of(reader, &all, "service:p/s/twin");
        self->pictures++;
        picture_free(&all);
    }
    history_reader_close(reader);
    return NULL;
}

/* Two nodes are stated together in every commit: no reader ever sees one without the other, through seals and
 * retention. */
static void test_readers_see_whole_commits(void **state) {
    (void)state;
    world self;
    pthread_t thread;
    world_open(&self, 1);
    self.limits.keep_ms = 100000;
    history_limit(self.history, &self.limits);
    looking other = {.of = self.history};
    assert_int_equal(pthread_create(&thread, NULL, look, &other), 0);
    for (unsigned i = 0; i < 600; i++) {
        int64_t now_ms = 600000 + (int64_t)i * 1000;
        fact what = cart(now_ms);
        what.confidence = (i % 97) / 100.0;
        MUST(history_assert(self.history, &what, now_ms, &why));
        what.name = "service:p/s/twin";
        MUST(history_assert(self.history, &what, now_ms, &why));
        world_commit(&self);
    }
    atomic_store(&other.ended, true);
    pthread_join(thread, NULL);
    assert_false(other.failed);
    assert_true(other.pictures > 0);
    assert_int_equal(other.different, 0);
    world_close(&self);
}

typedef struct seen {
    uint64_t revisions[64];
    size_t count;
} seen;

static void change_note(void *context, const history_change *change) {
    seen *all = context;
    assert_string_equal(change->what.name, "service:p/s/cart");
    all->revisions[all->count++ % 64] = change->revision;
}

/* Changes can be read from any revision for as long as they are kept, and then say so. */
static void test_changes(void **state) {
    (void)state;
    world self;
    world_open(&self, 1);
    self.limits.keep_changes_ms = 1000;
    history_limit(self.history, &self.limits);
    seen all = {0};
    uint64_t last = 0;
    fact what = cart(500000);
    for (unsigned i = 0; i < 600; i++) {
        what.valid_from_ms = 500000 + i * 100;
        what.confidence = i % 2;
        MUST(history_assert(self.history, &what, 600000 + i * 100, &why));
        world_commit(&self);
    }
    assert_int_equal(history_read_changes(self.reader, 5, 10, change_note, &all, &last, &why),
                     STATUS_OUT_OF_RANGE);
    assert_string_equal(why.reason, "COMPACTED");
    MUST(history_read_changes(self.reader, 590, 4, change_note, &all, &last, &why));
    assert_int_equal(last, 594);
    assert_int_equal(all.count, 4);
    MUST(history_read_changes(self.reader, 600, 4, change_note, &all, &last, &why));
    assert_int_equal(last, 600);
    for (uint64_t revision = 1; revision <= 600; revision++) {
        int64_t recorded_ms = 0;
        MUST(history_read_revision(self.reader, revision, &recorded_ms, &why));
        assert_int_equal(recorded_ms, 600000 + ((int64_t)revision - 1) * 100);
    }
    world_close(&self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_random_with_retention),
        cmocka_unit_test(test_random_with_folds),
        cmocka_unit_test(test_bad_facts),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_rename),
        cmocka_unit_test(test_rollback),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_readers_see_whole_commits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
