/* The table of priors, learning, and what counts as noticeably slower. */
#include "propagation.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "impact_normal.h"
#include "test.h"

#define OTHER (PROPAGATION_VERBS - 1)

static void test_table_is_whole(void **state) {
    (void)state;
    for (unsigned i = 0; i < PROPAGATION_CLASSES; i++) {
        const propagation_prior *prior = &propagation_priors[i];
        assert_true(prior->crosses >= 0 && prior->crosses <= 1 && prior->strength > 0 && prior->delay_ms > 0);
        assert_true(prior->reason[0] != '\0');
        assert_true(fabs(propagation_crosses(NULL, (propagation_class)i, OTHER) - prior->crosses) < 1e-12);
    }
    for (unsigned i = FAULT_FAILURE + 1; i < FAULT_KINDS; i++)
        assert_true(propagation_slownesses[i].deviation > 0 && propagation_slownesses[i].reason[0] != '\0');
    for (uint32_t i = 0; i < PROPAGATION_VERBS; i++)
        assert_int_equal(propagation_verb_find(propagation_verbs[i].name), i);
    assert_int_equal(propagation_verb_find(NULL), OTHER);
    assert_int_equal(propagation_verb_find("make.coffee"), OTHER);
}

/* From the prior to what was seen, and an observation with the verb itself says more than one with another.
 */
static void test_learning(void **state) {
    (void)state;
    propagation_learnt learnt = {0};
    double before = propagation_crosses(&learnt, PROPAGATION_CALL, OTHER);
    for (unsigned i = 0; i < 10; i++)
        propagation_learn(&learnt, PROPAGATION_CALL, OTHER, 1, false);
    double after = propagation_crosses(&learnt, PROPAGATION_CALL, OTHER);
    double elsewhere = propagation_crosses(&learnt, PROPAGATION_CALL, 0);
    assert_true(after < elsewhere && elsewhere < before);
    assert_true(fabs(after - 20.0 / 30) < 1e-12);
    assert_true(propagation_crosses(&learnt, PROPAGATION_QUEUE, OTHER) ==
                propagation_priors[PROPAGATION_QUEUE].crosses);
    for (unsigned i = 0; i < 10000; i++)
        propagation_learn(&learnt, PROPAGATION_CALL, OTHER, 1, i % 4 != 0);
    assert_true(fabs(propagation_crosses(&learnt, PROPAGATION_CALL, OTHER) - 0.75) < 0.01);
}

/* Who hardly ever calls shows nothing, whatever happens; nonsense is left out. */
static void test_learning_leaves_out(void **state) {
    (void)state;
    propagation_learnt learnt = {0};
    propagation_learn(&learnt, PROPAGATION_CALL, OTHER, 0.01, true);
    propagation_learn(&learnt, PROPAGATION_CALL, OTHER, (double)NAN, true);
    propagation_learn(&learnt, PROPAGATION_CALL, PROPAGATION_VERBS, 1, true);
    propagation_learn(&learnt, (propagation_class)77, OTHER, 1, true);
    for (unsigned class = 0; class < PROPAGATION_CLASSES; class ++)
        for (unsigned verb = 0; verb < PROPAGATION_VERBS; verb++)
            assert_true(learnt.counts[class][verb].crossed + learnt.counts[class][verb].stayed <= 0);
}

/* The more requests wait, the more calls, the shorter the node's own latency, the likelier. */
static void test_slowness_is_monotone(void **state) {
    (void)state;
    for (unsigned fault = FAULT_NETWORK; fault < FAULT_KINDS; fault++) {
        double last = 0;
        for (unsigned i = 0; i <= 20; i++) {
            propagation_latency latency = {.p90_ms = 500, .mean_ms = 200, .drift = -1};
            double now = propagation_slowed((fault_kind)fault, 0.05 * i, 0.05 * i * 3, 10, &latency);
            assert_true(now >= last - 1e-12 && now <= 1);
            last = now;
        }
        for (unsigned i = 0; i <= 20; i++) {
            propagation_latency latency = {.p90_ms = (float)(10 + 200 * i), .mean_ms = (float)(5 + 100 * i)};
            double now = propagation_slowed((fault_kind)fault, 1, 1, 10, &latency);
            assert_true(i == 0 || now <= last + 1e-12);
            last = now;
        }
        assert_true(propagation_slowed((fault_kind)fault, 0, 0, 10, &(propagation_latency){.p90_ms = 1}) <=
                    0);
        assert_true(propagation_slowed((fault_kind)fault, 0.9, 0, 10, &(propagation_latency){.p90_ms = 1}) <=
                    0);
    }
}

/* One request in fifty does not move a p90, however slow it gets. */
static void test_few_requests_do_not_show(void **state) {
    (void)state;
    propagation_latency latency = {.p90_ms = 100, .mean_ms = 50};
    assert_true(propagation_slowed(FAULT_NETWORK, 0.02, 0.02, 10, &latency) < 0.001);
    assert_true(propagation_slowed(FAULT_NETWORK, 1, 1, 10, &latency) > 0.8);
}

static void test_drift(void **state) {
    (void)state;
    weighted_level steady[] = {{10, 1}, {11, 1}, {12, 1}, {10.5, 1}};
    weighted_level twofold[] = {{20, 1}, {5, 1}, {21, 1}, {5.5, 1}};
    weighted_level weighted[] = {{20, 3}, {5, 1}};
    assert_true(levels_drift(steady, 4) <= 0);
    assert_true(fabs(levels_drift(twofold, 4) - 0.25) < 1e-12);
    assert_true(fabs(levels_drift(weighted, 2) - 3.0 / 16) < 1e-12);
    assert_true(levels_drift(steady, 0) < 0);
    propagation_latency known = {.drift = 0.2F};
    propagation_latency unknown = {.drift = -1};
    propagation_latency few = {.drift = 0.2F, .durations = 5, .deviation = 1};
    propagation_latency many = {.drift = 0.2F, .durations = 100000, .deviation = 1};
    assert_true(propagation_drifts(&known) > propagation_drifts(&unknown) &&
                propagation_drifts(&unknown) > 0);
    assert_true(propagation_drifts(&few) < propagation_drifts(&many));
    assert_true(propagation_drifts(&many) <= propagation_drifts(&known) + 1e-9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_whole),           cmocka_unit_test(test_learning),
        cmocka_unit_test(test_learning_leaves_out),      cmocka_unit_test(test_slowness_is_monotone),
        cmocka_unit_test(test_few_requests_do_not_show), cmocka_unit_test(test_drift),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
