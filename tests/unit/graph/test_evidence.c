/* Gathering requests: parents in any order, circles, self times, bounds, the store and its bad rows. */
#include "evidence_keep.h"
#include "evidence_store.h"

#include <string.h>

#include "test.h"

#define START_US 1700000000000000

static evidence_keep *keep_new(void) {
    evidence_keep *made = NULL;
    failure why = {0};
    assert_int_equal(evidence_keep_create(&made, &why), STATUS_OK);
    return made;
}

static observation span(uint8_t trace, uint64_t id, uint64_t parent, uint32_t operation, int64_t start_ms,
                        uint64_t duration_ms) {
    observation made = {.span_id = id,
                        .parent_id = parent,
                        .operation = operation,
                        .kind = OBSERVATION_SPAN,
                        .peer = MODEL_NONE,
                        .start_ns = START_US * 1000 + start_ms * 1000000,
                        .duration_ns = duration_ms * 1000000};
    made.trace_id[0] = trace;
    made.trace_id[1] = 1;
    return made;
}

/* ---- One trace
 * --------------------------------------------------------------------------------------------------- */

static void self_times_leave_children_out(void **state) {
    (void)state;
    /* A parent of 100 ms with children 10-40, 30-60 (they overlap) and 90-130 (it outlives the parent). */
    const gathered_span spans[] = {{2, 1, START_US + 10000, 30000, 2, 0},
                                   {1, 0, START_US, 100000, 1, 0},
                                   {3, 1, START_US + 30000, 30000, 3, 0},
                                   {4, 1, START_US + 90000, 40000, 4, 0}};
    evidence_span out[8];
    int64_t start_us = 0;
    (void)state;
    assert_int_equal(trace_sum_up(spans, 4, out, &start_us), 4);
    assert_int_equal(start_us, START_US);
    assert_int_equal(out[1].parent, EVIDENCE_ROOT);
    assert_int_equal(out[0].parent, 1);
    assert_int_equal(out[1].self_us, 100000 - 50000 - 10000);
    assert_int_equal(out[3].self_us, 40000);
}

static void circles_and_strangers_are_orphans(void **state) {
    (void)state;
    const gathered_span spans[] = {{1, 2, START_US, 10, 1, 0},
                                   {2, 3, START_US, 10, 1, 0},
                                   {3, 1, START_US, 10, 1, 0},
                                   {4, 4, START_US, 10, 1, 0},
                                   {5, 99, START_US, 10, 1, 0}};
    evidence_span out[10];
    int64_t start_us;
    assert_int_equal(trace_sum_up(spans, 5, out, &start_us), 5);
    uint32_t orphans = 0;
    for (uint32_t i = 0; i < 5; i++) {
        orphans += out[i].parent == EVIDENCE_ORPHAN;
        int32_t at = (int32_t)i;
        for (int steps = 0; at >= 0; steps++) {
            assert_true(steps < 5);
            at = out[at].parent;
        }
    }
    assert_int_equal(orphans, 3);
}

static void a_store_without_spans_gets_one(void **state) {
    (void)state;
    const gathered_span spans[] = {{1, 0, START_US, 50000, 1, 0}, {2, 1, START_US + 1000, 30000, 2, 9}};
    evidence_span out[4];
    int64_t start_us;
    assert_int_equal(trace_sum_up(spans, 2, out, &start_us), 3);
    assert_int_equal(out[2].operation, 9);
    assert_int_equal(out[2].parent, 1);
    assert_int_equal(out[2].self_us, 30000);
    assert_int_equal(out[1].self_us, 0);
}

/* ---- Keeping
 * ----------------------------------------------------------------------------------------------------- */

static void traces_settle_and_are_copied_before(void **state) {
    (void)state;
    evidence_keep *self = keep_new();
    failure why = {0};
    observation child = span(1, 2, 1, 2, 5, 10);
    observation parent = span(1, 1, 0, 1, 0, 30);
    uint8_t trace_id[16];
    memcpy(trace_id, child.trace_id, sizeof trace_id);
    evidence_keep_record(self, trace_id, 2, 7, EVIDENCE_NONE, 1000);
    evidence_keep_span(self, &child, OPERATION_NONE, 1000);
    evidence_keep_span(self, &parent, OPERATION_NONE, 2000);
    evidence_keep_span(self, &parent, OPERATION_NONE, 2000); /* sent again */
    for (int settled = 0; settled < 2; settled++) {
        evidence_copy copy = {0};
        assert_int_equal(evidence_keep_copy(self, &copy, &why), STATUS_OK);
        assert_int_equal(copy.trace_count, 1);
        assert_int_equal(copy.span_count, 2);
        assert_int_equal(copy.record_count, 1);
        assert_int_equal(copy.records[0].pattern, 7);
        assert_int_equal(copy.spans[copy.records[0].span].operation, 2);
        evidence_copy_free(&copy);
        if (settled == 0) {
            assert_int_equal(evidence_keep_due(self), 2000 + EVIDENCE_SETTLE_MS);
            assert_int_equal(evidence_keep_settle(self, 2000 + EVIDENCE_SETTLE_MS - 1), 0);
            assert_int_equal(evidence_keep_settle(self, 2000 + EVIDENCE_SETTLE_MS), 1);
        }
    }
    assert_int_equal(evidence_keep_due(self), UINT64_MAX);
    evidence_keep_free(self);
}

static void failed_spans_have_a_pattern(void **state) {
    (void)state;
    evidence_keep *self = keep_new();
    failure why = {0};
    observation one = span(1, 1, 0, 1, 0, 30);
    one.failed = 1;
    evidence_keep_span(self, &one, OPERATION_NONE, 0);
    evidence_copy copy = {0};
    assert_int_equal(evidence_keep_copy(self, &copy, &why), STATUS_OK);
    assert_int_equal(copy.record_count, 1);
    assert_int_equal(copy.records[0].pattern, EVIDENCE_PATTERN_FAILED);
    evidence_copy_free(&copy);
    evidence_keep_free(self);
}

/* Many of one kind in a minute are thinned, evenly and not away. */
static void floods_are_thinned(void **state) {
    (void)state;
    evidence_keep *self = keep_new();
    for (uint32_t i = 0; i < 8 * EVIDENCE_MINUTE_MAX; i++) {
        observation one = span((uint8_t)i, i + 1, 0, 1, i % 1000, 5);
        memcpy(one.trace_id + 4, &i, sizeof i);
        evidence_keep_span(self, &one, OPERATION_NONE, 0);
    }
    evidence_keep_settle(self, EVIDENCE_SETTLE_MS);
    evidence_totals totals = evidence_keep_totals(self);
    assert_true(totals.kept_traces > EVIDENCE_MINUTE_MAX);
    assert_true(totals.kept_traces < 4 * EVIDENCE_MINUTE_MAX);
    assert_int_equal(totals.kept_traces + totals.traces_thinned, 8 * EVIDENCE_MINUTE_MAX);
    evidence_keep_free(self);
}

/* However much comes, the chunks and the spans in them stay within their bounds, and the past stays. */
static void the_past_grows_thinner_and_not_shorter(void **state) {
    (void)state;
    evidence_keep *self = keep_new();
    failure why = {0};
    uint32_t number = 0;
    for (uint32_t round = 0; round < 1200; round++) {
        for (uint32_t i = 0; i < 3; i++, number++) {
            observation one = span(0, 1, 0, 1 + number % 7, (int64_t)number * 60000, 5);
            memcpy(one.trace_id + 4, &number, sizeof number);
            evidence_keep_span(self, &one, OPERATION_NONE, number);
        }
        evidence_keep_settle(self, (uint64_t)number + EVIDENCE_SETTLE_MS);
        evidence_keep_seal(self);
        assert_true(evidence_keep_chunk_count(self) <= EVIDENCE_CHUNKS_MAX);
    }
    evidence_copy copy = {0};
    assert_int_equal(evidence_keep_copy(self, &copy, &why), STATUS_OK);
    assert_int_equal(copy.trace_count, number); /* nothing had to go, only chunks were joined */
    evidence_copy_free(&copy);
    evidence_keep_free(self);
}

static void errors_are_numbered_once(void **state) {
    (void)state;
    evidence_keep *self = keep_new();
    uint32_t first = evidence_keep_error(self, "KeyError: 0", true, 1);
    assert_int_equal(evidence_keep_error(self, "KeyError: 0", true, 2), first);
    uint32_t other = evidence_keep_error(self, "it failed", false, 1);
    assert_int_not_equal(other, first);
    assert_int_not_equal(evidence_keep_error(self, "it failed", false, 2), other);
    assert_int_equal(evidence_keep_error_count(self), 3);
    evidence_keep_free(self);
}

/* ---- The store
 * ------------------------------------------------------------------------------------------------------- */

static const char schema[] =
    "CREATE TABLE evidence_chunk (id INTEGER PRIMARY KEY, thinned INTEGER NOT NULL, traces BLOB NOT NULL, "
    "spans BLOB NOT NULL, records BLOB NOT NULL) STRICT;"
    "CREATE TABLE evidence_error (id INTEGER PRIMARY KEY, exception INTEGER NOT NULL, node INTEGER NOT NULL, "
    "text TEXT NOT NULL) STRICT;";

static void connection_open(store *self, evidence_store **rows) {
    failure why = {0};
    assert_int_equal(store_open(self, ":memory:", 1, schema, NULL, STORE_DURABLE, &why), STATUS_OK);
    assert_int_equal(evidence_store_open(rows, self, &why), STATUS_OK);
}

static void what_is_stored_comes_back(void **state) {
    (void)state;
    store connection = {0};
    evidence_store *rows = NULL;
    failure why = {0};
    connection_open(&connection, &rows);
    evidence_keep *self = keep_new();
    for (uint32_t i = 0; i < 40; i++) {
        observation one = span((uint8_t)i, 1, 0, 1, 0, 5);
        evidence_keep_span(self, &one, OPERATION_NONE, 0);
        evidence_keep_record(self, one.trace_id, 1, 3, evidence_keep_error(self, "KeyError: 0", true, 0), 0);
        if (i % 10 == 9) {
            evidence_keep_settle(self, EVIDENCE_SETTLE_MS);
            evidence_keep_seal(self);
            assert_int_equal(evidence_store_put(rows, self, &why), STATUS_OK);
            evidence_keep_mark_stored(self);
        }
    }
    evidence_keep *again = keep_new();
    assert_int_equal(evidence_store_load(rows, again, 2, &why), STATUS_OK);
    evidence_copy one = {0};
    evidence_copy other = {0};
    assert_int_equal(evidence_keep_copy(self, &one, &why), STATUS_OK);
    assert_int_equal(evidence_keep_copy(again, &other, &why), STATUS_OK);
    assert_int_equal(one.trace_count, 40);
    assert_int_equal(other.trace_count, 40);
    assert_memory_equal(one.traces, other.traces, 40 * sizeof *one.traces);
    assert_memory_equal(one.spans, other.spans, one.span_count * sizeof *one.spans);
    assert_int_equal(other.record_count, 40);
    assert_string_equal(other.errors[0].text, "KeyError: 0");
    evidence_copy_free(&one);
    evidence_copy_free(&other);
    evidence_keep_free(again);
    evidence_keep_free(self);
    evidence_store_close(rows);
    store_close(&connection);
}

/* Rows that somebody spoiled are refused, never believed. */
static void bad_rows_are_refused(void **state) {
    static const char *const bad[] = {
        "INSERT INTO evidence_chunk VALUES (1, 0, x'00', x'', x'')",
        "INSERT INTO evidence_chunk VALUES (1, 0, zeroblob(24), x'', zeroblob(12))",
        "INSERT INTO evidence_chunk VALUES (1, 0, x'', zeroblob(20), x'')",
        "INSERT INTO evidence_chunk VALUES (0, 0, x'', x'', x'')",
        "INSERT INTO evidence_chunk VALUES (1, 0, x'00000000000000000000000001000000'||x'0000000000000000', "
        "x'ffff000000000000000000000000000000000000', x'')",
        "INSERT INTO evidence_error VALUES (5, 0, 0, 'x')",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        store connection = {0};
        evidence_store *rows = NULL;
        failure why = {0};
        connection_open(&connection, &rows);
        evidence_keep *self = keep_new();
        if (store_execute(&connection, bad[i], &why) == STATUS_OK &&
            evidence_store_load(rows, self, 2, &why) != STATUS_DATA_LOSS) {
            print_error("%s\n", bad[i]);
            _fail(__FILE__, __LINE__);
        }
        evidence_keep_free(self);
        evidence_store_close(rows);
        store_close(&connection);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(self_times_leave_children_out),
        cmocka_unit_test(circles_and_strangers_are_orphans),
        cmocka_unit_test(a_store_without_spans_gets_one),
        cmocka_unit_test(traces_settle_and_are_copied_before),
        cmocka_unit_test(failed_spans_have_a_pattern),
        cmocka_unit_test(floods_are_thinned),
        cmocka_unit_test(the_past_grows_thinner_and_not_shorter),
        cmocka_unit_test(errors_are_numbered_once),
        cmocka_unit_test(what_is_stored_comes_back),
        cmocka_unit_test(bad_rows_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
