/* Lanes: in whatever order states arrive, the same is said of every moment. */
#include "lanes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/chance.h"
#include "test.h"

#define MOMENTS_MAX 512U
#define TEXT_BYTES 300U

/* What was said of one thing from one moment on; the newest word about a moment holds, as in the history. */
typedef struct moment {
    char about[TEXT_BYTES];
    int64_t from_ms;
    bool says;
    char what[TEXT_BYTES];
} moment;

typedef struct record {
    moment moments[MOMENTS_MAX];
    size_t count;
    bool failing;
} record;

static status_code note(void *context, const char *origin, const statement *what, bool says, int64_t from_ms,
                        failure *why) {
    record *self = context;
    moment made = {.from_ms = from_ms, .says = says};
    if (self->failing)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "HISTORY_FULL", "full");
    snprintf(made.about, sizeof made.about, "%s %d %d %s %s", origin, what->is_edge, what->kind, what->name,
             what->to);
    for (size_t i = 0; i < what->attribute_count && says; i++)
        snprintf(made.what + strlen(made.what), sizeof made.what - strlen(made.what), "%s=%s;",
                 what->attributes[i].key, what->attributes[i].value);
    for (size_t i = 0; i < self->count; i++)
        if (self->moments[i].from_ms == from_ms && strcmp(self->moments[i].about, made.about) == 0) {
            self->moments[i] = made;
            return STATUS_OK;
        }
    assert_true(self->count < MOMENTS_MAX);
    self->moments[self->count++] = made;
    return STATUS_OK;
}

static int moment_compare(const void *a, const void *b) {
    const moment *left = a;
    const moment *right = b;
    int order = strcmp(left->about, right->about);
    return order != 0 ? order : (left->from_ms > right->from_ms) - (left->from_ms < right->from_ms);
}

/* Words that repeat the ones before them are left out. */
static void settle(record *self) {
    size_t kept = 0;
    qsort(self->moments, self->count, sizeof *self->moments, moment_compare);
    for (size_t i = 0; i < self->count; i++) {
        const moment *here = &self->moments[i];
        const moment *before = kept > 0 && strcmp(self->moments[kept - 1].about, here->about) == 0
                                   ? &self->moments[kept - 1]
                                   : NULL;
        bool same = before == NULL ? !here->says
                                   : before->says == here->says && strcmp(before->what, here->what) == 0;
        if (!same)
            self->moments[kept++] = *here;
    }
    self->count = kept;
}

static void assert_same_record(record *a, record *b) {
    settle(a);
    settle(b);
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_string_equal(a->moments[i].about, b->moments[i].about);
        assert_int_equal(a->moments[i].from_ms, b->moments[i].from_ms);
        assert_int_equal(a->moments[i].says, b->moments[i].says);
        assert_string_equal(a->moments[i].what, b->moments[i].what);
    }
}

/* A change that says `nodes` (one letter a node) and edges from "x" (capital letters), each with the value
 * `value`. */
static change make(arena *memory, const char *lane, int64_t from_ms, const char *tie, change_role role,
                   const char *letters, const char *value) {
    change made = {.lane = lane, .origin = "test", .from_ms = from_ms, .tie = tie, .role = role};
    failure why = {0};
    statements_begin(&made.what, memory);
    for (const char *c = letters; *c != '\0'; c++) {
        char name[2] = {*c, '\0'};
        bool edge = *c >= 'A' && *c <= 'Z';
        size_t index = edge ? statements_edge(&made.what, EDGE_KIND(AFFECTED), "x", name, PROVENANCE_OBSERVED)
                            : statements_node(&made.what, NODE_SERVICE, name, PROVENANCE_OBSERVED);
        statements_attribute(&made.what, index, "value", value);
    }
    assert_int_equal(statements_finish(&made.what, &why), STATUS_OK);
    return made;
}

typedef struct fixture {
    arena memory, scratch;
    lanes *lanes;
    record record;
} fixture;

static fixture *begin(void) {
    fixture *self = calloc(1, sizeof *self);
    failure why = {0};
    arena_init(&self->memory, 4096, 16U << 20);
    arena_init(&self->scratch, 4096, 64U << 20);
    assert_int_equal(lanes_create(&self->lanes, &why), STATUS_OK);
    return self;
}

static void end(fixture *self) {
    lanes_free(self->lanes);
    arena_free(&self->memory);
    arena_free(&self->scratch);
    free(self);
}

static bool put(fixture *self, const change *what) {
    failure why = {0};
    bool news = false;
    arena_reset(&self->scratch);
    assert_int_equal(lanes_put(self->lanes, what, note, &self->record, &self->scratch, &news, &why),
                     STATUS_OK);
    return news;
}

static const moment *at(fixture *self, const char *about, int64_t ms) {
    const moment *found = NULL;
    for (size_t i = 0; i < self->record.count; i++) {
        const moment *here = &self->record.moments[i];
        if (strcmp(here->about, about) == 0 && here->from_ms <= ms &&
            (found == NULL || found->from_ms < here->from_ms))
            found = here;
    }
    return found;
}

static void whole_states_replace_one_another(void **state) {
    (void)state;
    fixture *it = begin();
    change first = make(&it->memory, "l", 10, "1", CHANGE_WHOLE, "ab", "1");
    change second = make(&it->memory, "l", 20, "2", CHANGE_WHOLE, "bc", "2");
    assert_true(put(it, &first));
    assert_true(put(it, &second));
    assert_true(at(it, "test 0 1 a ", 15)->says);
    assert_false(at(it, "test 0 1 a ", 20)->says);
    assert_string_equal(at(it, "test 0 1 b ", 19)->what, "value=1;");
    assert_string_equal(at(it, "test 0 1 b ", 20)->what, "value=2;");
    assert_true(at(it, "test 0 1 c ", 20)->says);
    assert_null(at(it, "test 0 1 c ", 19));
    end(it);
}

static void the_same_again_is_no_news(void **state) {
    (void)state;
    fixture *it = begin();
    change first = make(&it->memory, "l", 10, "1", CHANGE_WHOLE, "ab", "1");
    change again = make(&it->memory, "l", 30, "2", CHANGE_WHOLE, "ba", "1");
    again.only_news = true;
    assert_true(put(it, &first));
    assert_false(put(it, &first));
    assert_false(put(it, &again));
    assert_int_equal(lanes_last_ms(it->lanes, "l"), 10);
    assert_int_equal(lanes_last_ms(it->lanes, "none"), INT64_MIN);
    end(it);
}

static void an_incident_lives_and_ends(void **state) {
    (void)state;
    fixture *it = begin();
    change update = make(&it->memory, "i", 20, "u", CHANGE_UPDATE, "iB", "2");
    change resolved = make(&it->memory, "i", 30, "r", CHANGE_END, "iR", "3");
    change late = make(&it->memory, "i", 40, "v", CHANGE_UPDATE, "iC", "4");
    change opened = make(&it->memory, "i", 10, "o", CHANGE_OPEN, "iA", "1");
    (void)put(it, &resolved);
    (void)put(it, &update);
    (void)put(it, &late);
    (void)put(it, &opened);
    assert_true(at(it, "test 1 10 x A", 25)->says);
    assert_true(at(it, "test 1 10 x B", 25)->says);
    assert_false(at(it, "test 1 10 x A", 30)->says);
    assert_false(at(it, "test 1 10 x B", 30)->says);
    assert_true(at(it, "test 1 10 x R", 50)->says);
    assert_null(at(it, "test 1 10 x C", 50)); /* said after the end */
    assert_string_equal(at(it, "test 0 1 i ", 15)->what, "value=1;");
    assert_string_equal(at(it, "test 0 1 i ", 50)->what, "value=4;");
    end(it);
}

static void what_two_lanes_say_goes_with_the_last(void **state) {
    (void)state;
    fixture *it = begin();
    change one = make(&it->memory, "one", 10, "1", CHANGE_WHOLE, "as", "1");
    change two = make(&it->memory, "two", 11, "1", CHANGE_WHOLE, "bs", "1");
    change one_gone = make(&it->memory, "one", 20, "2", CHANGE_WHOLE, "", "");
    change two_gone = make(&it->memory, "two", 30, "2", CHANGE_WHOLE, "", "");
    (void)put(it, &one);
    (void)put(it, &two);
    (void)put(it, &one_gone);
    assert_false(at(it, "test 0 1 a ", 20)->says);
    assert_true(at(it, "test 0 1 s ", 20)->says);
    (void)put(it, &two_gone);
    assert_false(at(it, "test 0 1 s ", 30)->says);
    end(it);
}

static void a_failure_can_be_repeated(void **state) {
    (void)state;
    fixture *it = begin();
    failure why = {0};
    bool news = true;
    change first = make(&it->memory, "l", 10, "1", CHANGE_WHOLE, "ab", "1");
    it->record.failing = true;
    assert_int_equal(lanes_put(it->lanes, &first, note, &it->record, &it->scratch, &news, &why),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_false(news);
    it->record.failing = false;
    assert_true(put(it, &first));
    assert_true(at(it, "test 0 1 a ", 10)->says);
    end(it);
}

/* Roles, letters and values at random. */
static size_t states_make(simulated_chance *seed, arena *memory, change *out, size_t count, bool whole) {
    for (size_t i = 0; i < count; i++) {
        uint8_t random[8];
        char letters[8] = "";
        chance_random(&seed->chance, random, sizeof random);
        for (size_t j = 0; j < 4; j++)
            if ((random[0] >> j & 1) != 0)
                snprintf(letters + strlen(letters), 2, "%c", "abAB"[j]);
        const char *tie = arena_format(memory, "%02zu", i);
        const char *value = arena_format(memory, "%d", random[1] % 3);
        out[i] = make(memory, "l", 10 + random[2] % 6, tie,
                      whole ? CHANGE_WHOLE : (change_role)(random[3] % 4), letters, value);
    }
    return count;
}

static void shuffle(simulated_chance *seed, change *items, size_t count) {
    for (size_t i = count; i > 1; i--) {
        uint8_t random = 0;
        chance_random(&seed->chance, &random, 1);
        change kept = items[i - 1];
        items[i - 1] = items[random % i];
        items[random % i] = kept;
    }
}

static void the_order_of_arrival_does_not_matter(void **state) {
    (void)state;
    simulated_chance seed;
    simulated_chance_init(&seed, 7);
    for (size_t round = 0; round < 300; round++) {
        change items[8];
        fixture *one = begin();
        fixture *two = begin();
        size_t count = states_make(&seed, &one->memory, items, 1 + round % 8, round % 3 == 0);
        for (size_t i = 0; i < count; i++)
            (void)put(one, &items[i]);
        shuffle(&seed, items, count);
        for (size_t i = 0; i < count; i++) {
            (void)put(two, &items[i]);
            (void)put(two, &items[i]); /* twice */
        }
        assert_same_record(&one->record, &two->record);
        end(one);
        end(two);
    }
}

typedef struct copying {
    lanes *into;
    size_t rows;
} copying;

static status_code copy_row(void *context, const char *lane, const lane_row *rows, size_t count,
                            failure *why) {
    copying *work = context;
    status_code code = STATUS_OK;
    (void)lane;
    for (size_t i = 0; i < count && code == STATUS_OK; i++)
        code = lanes_load(work->into, &rows[i], why);
    work->rows += count;
    return code;
}

static void what_is_stored_is_what_was_said(void **state) {
    (void)state;
    fixture *it = begin();
    fixture *copy = begin();
    failure why = {0};
    statements before;
    statements after;
    copying work = {.into = copy->lanes};
    /* More than a lane keeps: the oldest become one. */
    for (int i = 0; i < 40; i++) {
        char letter[2] = {(char)('a' + i % 26), '\0'};
        change item = make(&it->memory, i % 2 == 0 ? "even" : "odd", 10 + i, "t", CHANGE_UPDATE, letter, "1");
        (void)put(it, &item);
    }
    assert_true(lanes_dirty(it->lanes));
    assert_int_equal(lanes_each_dirty(it->lanes, copy_row, &work, &why), STATUS_OK);
    lanes_stored(it->lanes);
    assert_false(lanes_dirty(it->lanes));
    assert_int_equal(work.rows, 2 * LANE_STATES_MAX);
    assert_int_equal(lanes_last(it->lanes, "odd", &it->memory, &before, &why), STATUS_OK);
    assert_int_equal(lanes_last(copy->lanes, "odd", &it->memory, &after, &why), STATUS_OK);
    assert_int_equal(before.count, 13);
    assert_int_equal(after.count, before.count);
    for (size_t i = 0; i < before.count; i++)
        assert_true(statement_same(&before.items[i], &after.items[i]));
    /* And it goes on as if nothing had happened. */
    change gone = make(&it->memory, "odd", 100, "t", CHANGE_WHOLE, "", "");
    (void)put(copy, &gone);
    assert_false(at(copy, "test 0 1 b ", 100)->says);
    end(it);
    end(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_states_replace_one_another),
        cmocka_unit_test(the_same_again_is_no_news),
        cmocka_unit_test(an_incident_lives_and_ends),
        cmocka_unit_test(what_two_lanes_say_goes_with_the_last),
        cmocka_unit_test(a_failure_can_be_repeated),
        cmocka_unit_test(the_order_of_arrival_does_not_matter),
        cmocka_unit_test(what_is_stored_is_what_was_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
