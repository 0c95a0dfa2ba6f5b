/* Sketches, buckets and series: stated errors hold, folding loses nothing, and the order of arrival does not
 * matter. */
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/chance.h"
#include "signals.h"
#include "sketch.h"

#define NODE "service:prod/shop/cart"
#define START_MS 1767225600000

static uint64_t draw(simulated_chance *dice) {
    uint64_t value;
    chance_random(&dice->chance, (uint8_t *)&value, sizeof value);
    return value;
}

static signals *signals_made(void) {
    signals *self = NULL;
    failure why;
    assert_int_equal(signals_create(&self, 7, &why), STATUS_OK);
    return self;
}

static uint32_t series_made(signals *self, const char *pod, const char *name) {
    return signals_series_named(self, NODE, bytes_of_text(pod), bytes_of_text(name), bytes_of_text("1"),
                                SIGNAL_GAUGE);
}

static int number_order(const void *a, const void *b) {
    uint64_t one = *(const uint64_t *)a;
    uint64_t two = *(const uint64_t *)b;
    return (one > two) - (one < two);
}

static void test_sketch_keeps_its_error(void **state) {
    (void)state;
    static uint64_t values[2000];
    simulated_chance dice;
    simulated_chance_init(&dice, 11);
    sketch all = {0};
    sketch half = {0};
    for (size_t i = 0; i < 2000; i++) {
        values[i] = 1024 + (draw(&dice) >> (22 + draw(&dice) % 30));
        assert_true(sketch_add(i % 2 == 0 ? &all : &half, values[i], 1));
    }
    assert_true(sketch_merge(&all, &half));
    qsort(values, 2000, sizeof *values, number_order);
    for (unsigned percent = 1; percent <= 100; percent++) {
        double exact = (double)values[20 * percent - 1];
        assert_true(fabs(sketch_quantile(&all, percent / 100.0) - exact) <= SKETCH_ERROR * exact);
    }
    for (size_t i = 0; i < 2000; i++)
        assert_true(sketch_add(&all, values[i], -1));
    assert_int_equal(all.count, 0);
    sketch_free(&all);
    sketch_free(&half);
}

static void totals_of(const signals *self, uint32_t series, signal_point *out) {
    signal_point points[SIGNALS_POINTS_MAX];
    size_t count = signals_points(self, series, INT64_MIN, INT64_MAX, points, SIGNALS_POINTS_MAX);
    *out = (signal_point){.minimum = HUGE_VAL, .maximum = -HUGE_VAL};
    for (size_t i = 0; i < count; i++) {
        out->count += points[i].count;
        out->sum += points[i].sum;
        out->minimum = fmin(out->minimum, points[i].minimum);
        out->maximum = fmax(out->maximum, points[i].maximum);
        assert_true(i == 0 || points[i].from_ms >= points[i - 1].from_ms + points[i - 1].width_ms);
    }
}

/* Two days of points every 20 s: all levels are in use. */
static void test_folding_conserves(void **state) {
    (void)state;
    enum { POINTS = 8640 };
    static uint32_t order[POINTS];
    signals *forward = signals_made();
    signals *shuffled = signals_made();
    uint32_t one = series_made(forward, "", "cpu");
    uint32_t two = series_made(shuffled, "", "cpu");
    simulated_chance dice;
    simulated_chance_init(&dice, 3);
    for (uint32_t i = 0; i < POINTS; i++)
        order[i] = i;
    /* Neighbours change places, as far as points are late in life. */
    for (uint32_t i = 0; i < POINTS; i++) {
        uint32_t other = i + (uint32_t)(draw(&dice) % 200) < POINTS ? i + (uint32_t)(draw(&dice) % 64) : i;
        if (other >= POINTS)
            other = i;
        uint32_t swapped = order[i];
        order[i] = order[other];
        order[other] = swapped;
    }
    for (uint32_t i = 0; i < POINTS; i++) {
        signals_add(forward, one, START_MS + 20000 * (int64_t)i, i);
        signals_add(shuffled, two, START_MS + 20000 * (int64_t)order[i], order[i]);
    }
    signal_point a;
    signal_point b;
    totals_of(forward, one, &a);
    totals_of(shuffled, two, &b);
    assert_true(a.count == POINTS && a.sum == POINTS * (POINTS - 1.0) / 2);
    assert_true(a.minimum == 0 && a.maximum == POINTS - 1);
    assert_true(b.count == a.count && b.sum == a.sum && b.minimum == a.minimum && b.maximum == a.maximum);
    assert_true(signals_totals_of(forward).buckets <= SIGNALS_POINTS_MAX);
    assert_int_equal(signals_totals_of(shuffled).late, 0);
    signals_free(forward);
    signals_free(shuffled);
}

static void test_baseline_and_changes(void **state) {
    (void)state;
    signals *self = signals_made();
    uint32_t series = series_made(self, "cart-1", "latency");
    simulated_chance dice;
    simulated_chance_init(&dice, 5);
    signal_baseline normal;
    assert_false(signals_baseline_before(self, series, START_MS, 0, &normal));
    for (int64_t i = 0; i < 100; i++) {
        double noise = (double)(draw(&dice) % 1000) / 1000;
        double level = i < 60 ? 10 : i < 75 ? 30 : 10;
        signals_add(self, series, START_MS + 15000 * i, level + noise);
    }
    assert_true(signals_baseline_before(self, series, START_MS + 15000 * 60, 0, &normal));
    assert_true(normal.buckets == 60 && normal.median > 10 && normal.median < 11 && normal.spread < 1);
    assert_true(normal.p10 <= normal.p25 && normal.p25 <= normal.median && normal.p75 <= normal.p90);
    signal_change changes[4];
    size_t count = signals_changes(self, series, START_MS, START_MS + 15000 * 100, changes, 4);
    assert_int_equal(count, 2);
    bool rise_first = changes[0].after > changes[0].before;
    const signal_change *rise = &changes[rise_first ? 0 : 1];
    const signal_change *fall = &changes[rise_first ? 1 : 0];
    assert_int_equal(rise->at_ms, START_MS + 15000 * 60);
    assert_int_equal(fall->at_ms, START_MS + 15000 * 75);
    assert_true(rise->strength > 10 && fall->after < fall->before);
    assert_int_equal(signals_changes(self, series, START_MS, START_MS + 15000 * 60, changes, 4), 0);
    signals_free(self);
}

static void test_sums_become_rates(void **state) {
    (void)state;
    signals *self = signals_made();
    uint32_t series = series_made(self, "", "requests");
    signal_point points[8];
    assert_false(signals_add_cumulative(self, series, START_MS, START_MS + 15000, 100)); /* the first */
    assert_true(signals_add_cumulative(self, series, START_MS, START_MS + 30000, 250));
    assert_false(signals_add_cumulative(self, series, START_MS, START_MS + 30000, 250)); /* again */
    assert_false(signals_add_cumulative(self, series, START_MS, START_MS + 20000, 200)); /* late */
    /* The process began anew at 40 s. */
    assert_true(signals_add_cumulative(self, series, START_MS + 40000, START_MS + 45000, 10));
    assert_int_equal(signals_points(self, series, START_MS, INT64_MAX, points, 8), 2);
    assert_true(points[0].sum == 10 && points[1].sum == 2);
    assert_int_equal(signals_totals_of(self).resets, 1);
    assert_int_equal(signals_totals_of(self).out_of_order, 2);
    signals_add(self, series, START_MS, NAN);
    signals_add(self, series, START_MS, HUGE_VAL);
    assert_int_equal(signals_totals_of(self).not_finite, 2);
    signals_free(self);
}

/* Ever new names of signals: bounded, counted, and in one series more. */
static void test_names_are_bounded(void **state) {
    (void)state;
    signals *self = signals_made();
    uint32_t last = 0;
    for (unsigned i = 0; i < 20000; i++) {
        char name[32];
        snprintf(name, sizeof name, "metric.%u", i);
        last = series_made(self, "", name);
        assert_int_not_equal(last, SIGNALS_NONE);
        signals_add(self, last, START_MS, 1);
    }
    assert_int_equal(signals_series_count(self), SIGNALS_NODE_SERIES_MAX);
    assert_string_equal(signals_series_at(self, last).name, SIGNALS_OTHER);
    assert_int_equal(signals_totals_of(self).series_refused, 20000 - (SIGNALS_NODE_SERIES_MAX - 1));
    uint32_t all[SIGNALS_NODE_SERIES_MAX];
    assert_int_equal(signals_of_node(self, signals_node_find(self, NODE), all, SIGNALS_NODE_SERIES_MAX),
                     SIGNALS_NODE_SERIES_MAX);
    assert_int_equal(signals_series_find(self, NODE, "", "metric.7"), 7);
    assert_int_equal(signals_series_find(self, NODE, "pod", "metric.7"), SIGNALS_NONE);
    signals_free(self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sketch_keeps_its_error), cmocka_unit_test(test_folding_conserves),
        cmocka_unit_test(test_baseline_and_changes),   cmocka_unit_test(test_sums_become_rates),
        cmocka_unit_test(test_names_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
