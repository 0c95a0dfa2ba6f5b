/* Counters against a brute-force model: no interval as long as the window ever holds more than the cap. */
#include "counters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/chance.h"

#define MS 1000000U
#define CHARGES 4000U

typedef struct charged {
    uint64_t at_ns, cost;
} charged;

static uint64_t draw(simulated_chance *world, uint64_t below) {
    uint64_t value;
    chance_random(&world->chance, (uint8_t *)&value, sizeof value);
    return value % below;
}

/* The most that any interval [end - window, end] ending at a charge has held. */
static uint64_t most_in_window(const charged *history, size_t count, uint64_t window_ns) {
    uint64_t most = 0;
    for (size_t last = 0; last < count; last++) {
        uint64_t sum = 0;
        for (size_t i = 0; i <= last; i++)
            if (history[i].at_ns + window_ns >= history[last].at_ns)
                sum += history[i].cost;
        most = sum > most ? sum : most;
    }
    return most;
}

static counters_verdict charge(counters *table, const char *key, uint64_t cap, uint64_t window_ms,
                               uint64_t cost, uint64_t now_ns, uint32_t *retry) {
    append_charge one = {.key = key, .cap = cap, .window_ms = window_ms, .cost = cost};
    size_t which = 99;
    counters_verdict verdict = counters_charge(table, &one, 1, now_ns, &which, retry);
    if (verdict == COUNTERS_EXHAUSTED)
        assert_int_equal(which, 0);
    return verdict;
}

/* Random charges at random times, with rollbacks and restarts (same boot and another) in between. */
static void run_seed(uint64_t seed) {
    simulated_chance world;
    simulated_chance_init(&world, seed);
    uint64_t window_ms = 1000 + draw(&world, 5000), cap = 1 + draw(&world, 40);
    static charged history[CHARGES];
    size_t count = 0, refused = 0;
    counters *table = NULL;
    failure why;
    assert_int_equal(counters_new(&table, &why), STATUS_OK);
    for (unsigned step = 0; step < CHARGES; step++) {
        uint64_t cost = 1 + draw(&world, 3);
        uint32_t retry = 0;
        world.boot_ns += draw(&world, window_ms * MS / cap);
        counters_verdict verdict = charge(table, "k", cap, window_ms, cost, world.boot_ns, &retry);
        if (verdict != COUNTERS_CHARGED) {
            refused++;
            assert_true(cost > cap ? retry == 0 : retry > 0 && retry <= window_ms * 11 / 10 + 1);
        } else if (draw(&world, 10) == 0) {
            counters_undo(table);
        } else {
            counters_keep(table);
            history[count++] = (charged){.at_ns = world.boot_ns, .cost = cost};
        }
    }
    uint64_t most = most_in_window(history, count, window_ms * MS);
    if (most > cap)
        fail_msg("seed %llu: %llu in a window, cap %llu", (unsigned long long)seed, (unsigned long long)most,
                 (unsigned long long)cap);
    assert_true(cap < 4 || count > 100); /* it does let things through */
    assert_true(refused > 0);
    counters_free(table);
}

static void no_window_holds_more_than_the_cap(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++)
        run_seed(seed);
}

static void charges_all_or_nothing(void **state) {
    (void)state;
    counters *table = NULL;
    failure why;
    assert_int_equal(counters_new(&table, &why), STATUS_OK);
    append_charge both[] = {{.key = "wide", .cap = 10, .window_ms = 1000, .cost = 1},
                            {.key = "narrow", .cap = 1, .window_ms = 1000, .cost = 1}};
    size_t which = 0;
    uint32_t retry = 0;
    assert_int_equal(counters_charge(table, both, 2, 0, &which, &retry), COUNTERS_CHARGED);
    counters_keep(table);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(counters_charge(table, both, 2, 0, &which, &retry), COUNTERS_EXHAUSTED);
        assert_int_equal(which, 1);
        counters_keep(table);
    }
    assert_int_equal(charge(table, "wide", 10, 1000, 9, 0, &retry),
                     COUNTERS_CHARGED); /* 1 was charged, not 21 */
    counters_free(table);
}

static void retry_after_is_when_it_fits(void **state) {
    (void)state;
    counter_state one = {.window_ms = 1000, .newest = 100};
    one.sums[0] = 3;
    one.sums[10] = 2;
    uint64_t now_ns = 100 * 100 * (uint64_t)MS + 7 * MS;
    uint32_t wait = counter_retry_after_ms(&one, 5, 1, now_ns);
    assert_int_equal(wait, 93); /* bucket 101 begins */
    counter_advance(&one, now_ns + (uint64_t)wait * MS);
    assert_int_equal(counter_total(&one), 2);
    assert_int_equal(counter_retry_after_ms(&one, 5, 6, now_ns), 0); /* never */
}

static void another_window_or_boot_charges_everything_now(void **state) {
    (void)state;
    counters *table = NULL;
    failure why;
    uint32_t retry = 0;
    assert_int_equal(counters_new(&table, &why), STATUS_OK);
    assert_int_equal(charge(table, "k", 3, 1000, 3, 0, &retry), COUNTERS_CHARGED);
    counters_keep(table);
    assert_int_equal(charge(table, "k", 3, 60000, 1, 500 * (uint64_t)MS, &retry), COUNTERS_EXHAUSTED);
    counter_state stored = {.window_ms = 1000, .newest = 123456};
    stored.sums[2] = 7;
    counter_restart(&stored, 1000, 5000 * (uint64_t)MS);
    assert_int_equal(stored.newest, 50);
    assert_int_equal(stored.sums[10], 7);
    assert_int_equal(counter_total(&stored), 7);
    counters_free(table);
}

static void a_clock_that_runs_back_frees_nothing(void **state) {
    (void)state;
    counter_state one = {.window_ms = 1000, .newest = 100};
    one.sums[0] = 5;
    counter_advance(&one, 50 * 100 * (uint64_t)MS);
    assert_int_equal(one.newest, 100);
    assert_int_equal(counter_total(&one), 5);
}

static void huge_numbers_do_not_wrap(void **state) {
    (void)state;
    counters *table = NULL;
    failure why;
    uint32_t retry = 0;
    assert_int_equal(counters_new(&table, &why), STATUS_OK);
    assert_int_equal(charge(table, "k", INT64_MAX, 1000, INT64_MAX, 0, &retry), COUNTERS_CHARGED);
    counters_keep(table);
    assert_int_equal(charge(table, "k", INT64_MAX, 1000, 1, 0, &retry), COUNTERS_EXHAUSTED);
    assert_int_equal(charge(table, "l", 0, 2678400000U, 1, UINT64_MAX / 2, &retry), COUNTERS_EXHAUSTED);
    counters_free(table);
}

static status_code note_gone(void *context, const char *key, failure *why) {
    (void)why;
    (void)key;
    (*(unsigned *)context)++;
    return STATUS_OK;
}

static void sweep_drops_what_counts_nothing(void **state) {
    (void)state;
    counters *table = NULL;
    failure why;
    uint32_t retry = 0;
    unsigned gone = 0;
    assert_int_equal(counters_new(&table, &why), STATUS_OK);
    for (unsigned i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%u", i);
        assert_int_equal(charge(table, key, 1, i < 50 ? 1000 : 100000, 1, 0, &retry), COUNTERS_CHARGED);
    }
    counters_keep(table);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(counters_sweep(table, 2000 * (uint64_t)MS, note_gone, &gone, &why), STATUS_OK);
    assert_int_equal(gone, 50);
    assert_int_equal(counters_count(table), 50);
    counters_free(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_window_holds_more_than_the_cap),
        cmocka_unit_test(charges_all_or_nothing),
        cmocka_unit_test(retry_after_is_when_it_fits),
        cmocka_unit_test(another_window_or_boot_charges_everything_now),
        cmocka_unit_test(a_clock_that_runs_back_frees_nothing),
        cmocka_unit_test(huge_numbers_do_not_wrap),
        cmocka_unit_test(sweep_drops_what_counts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
