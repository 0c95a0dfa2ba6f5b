/* The history when memory runs out at any point: a fact is kept or refused, a commit is whole or tried again,
 * and an answer is whole or none. */
#include <stdio.h>
#include <string.h>

#include "fail_allocation.h"
#include "history.h"
#include "picture.h"
#include "test.h"

#define FACTS 12U

extern const char graph_schema_sql[];

typedef struct fixture {
    store file;
    history *history, *again;
    history_reader *reader;
    picture picture;
    history_item item;
    arena memory;
    uint64_t revision;
} fixture;

static fixture self;
static failure ignored;

static const attribute text = {"text", "of some length, so that it is not kept within something else"};

static fact cart(unsigned number) {
    return (fact){.is_edge = number % 3 == 2,
                  .kind = 1,
                  .name = number % 2 == 0 ? "service:p/s/cart" : "service:p/s/front",
                  .to = "service:p/s/other",
                  .origin = number % 5 == 0 ? "otlp" : "kubernetes",
                  .source = PROVENANCE_OBSERVED,
                  .confidence = number / 100.0,
                  .valid_from_ms = 500000 + (int64_t)number * 100,
                  .valid_to_ms = HISTORY_OPEN,
                  .attributes = &text,
                  .attribute_count = 1};
}

static void must(status_code code) {
    assert_int_equal(code, STATUS_OK);
}

static status_code commit(failure *why) {
    status_code status = store_begin(&self.file, why);
    if (status == STATUS_OK)
        status = history_put(self.history, self.revision + 1, why);
    if (status == STATUS_OK)
        status = store_commit(&self.file, why);
    if (status != STATUS_OK) {
        store_rollback(&self.file);
        return status;
    }
    self.revision++;
    history_stored(self.history);
    return STATUS_OK;
}

/* The history's tables alone, so that thousands of runs take seconds. */
static const char *schema(void) {
    static char script[65536];
    const char *own = strstr(graph_schema_sql, "CREATE TABLE history_node");
    assert_non_null(own);
    snprintf(script, sizeof script,
             "CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;\n%s", own);
    return script;
}

static void begin(void *context) {
    (void)context;
    const history_limits limits = {.seal_changes = 8, .keep_ms = 1000000};
    arena_init(&self.memory, 64, 1U << 20);
    must(store_open(&self.file, ":memory:", 1, schema(), NULL, STORE_DURABLE, &ignored));
    must(history_open(&self.history, &self.file, ":memory:", &limits, chance_system(), &ignored));
    must(history_reader_open(&self.reader, self.history, &ignored));
}

static void end(void *context) {
    (void)context;
    picture_free(&self.picture);
    self.item = (history_item){0};
    history_reader_close(self.reader);
    history_close(self.again);
    history_close(self.history);
    store_close(&self.file);
    arena_free(&self.memory);
    self = (fixture){0};
}

static void begin_full(void *context) {
    begin(context);
    for (unsigned i = 0; i < FACTS; i++) {
        fact what = cart(i);
        must(history_assert(self.history, &what, 600000 + i, &ignored));
        if (i % 4 == 3)
            must(commit(&ignored));
    }
}

static size_t versions_of(unsigned number, instant at) {
    fact what = cart(number);
    history_item item = {0};
    status_code status = history_read_at(self.reader, &what, at, &self.memory, &item, &ignored);
    assert_true(status == STATUS_OK || status == STATUS_NOT_FOUND);
    arena_reset(&self.memory);
    return status == STATUS_OK ? item.version_count : 0;
}

/* ---- A fact ---- */

static status_code state_run(void *context, failure *why) {
    (void)context;
    fact what = cart(2);
    return history_assert(self.history, &what, 600000, why);
}

static void state_check(void *context, bool done) {
    (void)context;
    must(commit(&ignored));
    assert_int_equal(versions_of(2, INSTANT_NOW), done ? 1 : 0);
}

static void a_fact_is_kept_or_refused(void **state) {
    (void)state;
    const fault_case fact_case = {.name = "a fact",
                                  .begin = begin,
                                  .end = end,
                                  .run = state_run,
                                  .check = state_check,
                                  .may_do_without = true};
    fail_each_allocation(&fact_case);
}

/* ---- A commit that seals ---- */

static void begin_uncommitted(void *context) {
    begin(context);
    for (unsigned i = 0; i < FACTS; i++) {
        fact what = cart(i);
        must(history_assert(self.history, &what, 600000, &ignored));
    }
}

static status_code commit_run(void *context, failure *why) {
    (void)context;
    return commit(why);
}

static void commit_check(void *context, bool done) {
    (void)context;
    assert_int_equal(history_changed(self.history), !done);
    assert_int_equal(history_count(self.history).segments, done ? 2 : 1);
    assert_int_equal(versions_of(2, INSTANT_NOW), done ? 1 : 0);
}

static void a_commit_is_whole_or_tried_again(void **state) {
    (void)state;
    const fault_case commit_case = {.name = "a commit",
                                    .begin = begin_uncommitted,
                                    .end = end,
                                    .run = commit_run,
                                    .check = commit_check,
                                    .may_do_without = true};
    fail_each_allocation(&commit_case);
}

/* ---- Loading ---- */

static status_code load_run(void *context, failure *why) {
    (void)context;
    return history_open(&self.again, &self.file, ":memory:", NULL, chance_system(), why);
}

static void load_check(void *context, bool done) {
    (void)context;
    assert_int_equal(self.again != NULL, done);
    if (done)
        assert_int_equal(history_count(self.again).versions, history_count(self.history).versions);
}

static void a_history_is_loaded_or_not(void **state) {
    (void)state;
    const fault_case load_case = {.name = "loading",
                                  .begin = begin_full,
                                  .end = end,
                                  .run = load_run,
                                  .check = load_check,
                                  .may_do_without = true};
    fail_each_allocation(&load_case);
}

/* ---- Questions ---- */

static status_code picture_run(void *context, failure *why) {
    (void)context;
    return picture_make(self.reader, (instant){500500, HISTORY_OPEN}, &self.picture, why);
}

static void picture_check(void *context, bool done) {
    (void)context;
    assert_int_equal(self.picture.node_count, done ? 3 : 0);
    assert_int_equal(self.picture.edge_count, done ? 2 : 0);
}

static void a_picture_is_whole_or_none(void **state) {
    (void)state;
    const fault_case picture_case = {.name = "a picture",
                                     .begin = begin_full,
                                     .end = end,
                                     .run = picture_run,
                                     .check = picture_check,
                                     .may_do_without = true};
    fail_each_allocation(&picture_case);
}

static status_code past_run(void *context, failure *why) {
    (void)context;
    fact what = cart(0);
    return history_read_past(self.reader, &what, 0, 100, &self.memory, &self.item, why);
}

static void past_check(void *context, bool done) {
    (void)context;
    assert_int_equal(self.item.version_count > 2, done);
}

static void a_past_is_whole_or_none(void **state) {
    (void)state;
    const fault_case past_case = {.name = "a past",
                                  .begin = begin_full,
                                  .end = end,
                                  .run = past_run,
                                  .check = past_check,
                                  .memory = &self.memory,
                                  .may_do_without = true};
    fail_each_allocation(&past_case);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fact_is_kept_or_refused),  cmocka_unit_test(a_commit_is_whole_or_tried_again),
        cmocka_unit_test(a_history_is_loaded_or_not), cmocka_unit_test(a_picture_is_whole_or_none),
        cmocka_unit_test(a_past_is_whole_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
