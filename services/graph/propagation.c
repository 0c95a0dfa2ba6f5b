/* The table of priors and the few formulas that use it. */
#include "propagation.h"

#include <math.h>
#include <string.h>

const propagation_prior propagation_priors[PROPAGATION_CLASSES] = {
    [PROPAGATION_CALL] =
        {"call", 1, 20, 100,
         "a caller without a fallback that was seen fails with what it calls: bounds look at "
         "the upper end until outcomes say otherwise"},
    [PROPAGATION_QUEUE] =
        {"queue", 0.3, 4, 60000,
         "a queue keeps what is not taken; the producer notices when it is full, or when it "
         "waits for an answer over another queue"},
    [PROPAGATION_STORE] = {"store", 1, 20, 100, "like a call: few services answer without their data"},
    [PROPAGATION_HOST] = {"host", 0.9, 10, 1000,
                          "what runs on a failing host fails until it is moved; replicas elsewhere carry on"},
};

const propagation_slowness propagation_slownesses[FAULT_KINDS] = {
    [FAULT_NETWORK] =
        {"network", 200, 0, 0.9, 1, 1,
         "retransmission timers are 200 ms and more (RFC 6298, Linux), and so is what a congested "
         "or distant path adds; all calls pass it"},
    [FAULT_PROCESSOR] =
        {"processor", 40, 40, 1.2, 1, 1,
         "throttled work waits for the rest of the scheduler's period (100 ms, CFS), half of it "
         "in the mean; contention multiplies the node's own work besides"},
    [FAULT_SLOW_CODE] =
        {"slow code", 500, 0, 1.2, 0.02, 0.35,
         "one operation for some of its arguments: a small part of all calls, by about the time "
         "after which somebody complains; a third of the callers use it"},
};

const propagation_verb propagation_verbs[PROPAGATION_VERBS] = {
    {"deploy", FAULT_FAILURE, "new code fails in ways that tests did not show"},
    {"rollback", FAULT_FAILURE, "the same, backwards"},
    {"restart", FAULT_FAILURE, "it does not come up again"},
    {"config.set", FAULT_FAILURE, "a wrong value is an outage of what reads it"},
    {"db.migrate", FAULT_FAILURE, "locks and missing columns fail requests"},
    {"secret.rotate", FAULT_FAILURE, "whoever holds the old one is refused"},
    {"network.allow", FAULT_NETWORK, "the path changes"},
    {"scale", FAULT_PROCESSOR, "too few replicas compute slowly before they fail"},
    {"traffic.shift", FAULT_PROCESSOR, "more than it can take"},
    {"flag.set", FAULT_SLOW_CODE, "one operation changes"},
    {"exec", FAULT_FAILURE, "anything may happen"},
    {"", FAULT_FAILURE, "anything may happen"},
};

#define NOTICEABLE 0.5   /* more by half: what users and alerts notice, and more than days differ by */
#define SHARE_NEEDED 0.2 /* of the requests must be slower before the 90th percentile and the body move … */
#define SHARE_WIDTH 0.4  /* … in logarithms: between 0.13 and 0.3 it is open */
#define DRIFT_UNKNOWN 0.1 /* services whose latency nobody measured drift like the mean of those measured */
#define DRIFT_FAR 1.5     /* two days differ more than two quarters of an hour of the same few days */
#define DRIFT_MOST 0.9
#define EVIDENCE_NEEDED                                                                                      \
    3.3 /* deviations of a rank test, p < 0.001: below it a shift is not told from chance */
#define EVIDENCE_WIDTH 1.5
#define COMPARED 0.5 /* an incident lasts half as long as what is known of normal times */
#define STANDS_FOR                                                                                           \
    0.15 /* of nodes beside the target that never call: about one in seven is its other face                 \
          */
#define LEARN_SHARE_LEAST 0.05 /* a caller that makes the call more seldom shows nothing */
#define OTHER_VERBS 0.25       /* what an observation with another verb counts */

uint32_t propagation_verb_find(const char *verb) {
    uint32_t found = 0;
    while (found + 1 < PROPAGATION_VERBS &&
           (verb == NULL || strcmp(propagation_verbs[found].name, verb) != 0))
        found++;
    return found;
}

/* ---- What was learnt ---- */

void propagation_learn(propagation_learnt *self, propagation_class class, uint32_t verb, double share,
                       bool caller_hit) {
    if ((unsigned)class >= PROPAGATION_CLASSES || verb >= PROPAGATION_VERBS || !(share >= LEARN_SHARE_LEAST))
        return;
    propagation_count *count = &self->counts[class][verb];
    if (caller_hit)
        count->crossed += 1;
    else
        count->stayed += share < 1 ? share : 1;
}

double propagation_crosses(const propagation_learnt *self, propagation_class class, uint32_t verb) {
    const propagation_prior *prior = &propagation_priors[class];
    double crossed = prior->crosses * prior->strength;
    double all = prior->strength;
    for (uint32_t i = 0; self != NULL && i < PROPAGATION_VERBS; i++) {
        const propagation_count *count = &self->counts[class][i];
        double weight = i == verb ? 1 : OTHER_VERBS;
        crossed += weight * count->crossed;
        all += weight * (count->crossed + count->stayed);
    }
    return crossed / all;
}

/* ---- Slowness ---- */

static double normal_below(double z) {
    return 0.5 * erfc(-z * M_SQRT1_2);
}

/* That a log-normal quantity around `median` is above `bound`. */
static double above(double median, double bound, double deviation) {
    if (median <= 0 || bound <= 0)
        return median > 0 ? 1 : 0;
    return normal_below(log(median / bound) / deviation);
}

double propagation_slowed(fault_kind fault, double share, double calls, double target_self_ms,
                          const propagation_latency *node) {
    const propagation_slowness *slow = &propagation_slownesses[fault];
    double added = slow->added_ms + slow->added_self * target_self_ms;
    if (share <= 0 || calls <= 0)
        return 0;
    double slowed = share * slow->touched;
    double p90 = 0;
    /* The 90th percentile: enough of the requests must pass, and what those take longer must show. */
    if (node->p90_ms > 0)
        p90 = above(slowed, SHARE_NEEDED, SHARE_WIDTH) *
              above(added * calls / share, NOTICEABLE * (double)node->p90_ms, slow->deviation);
    /* The mean moves with few requests already, where each takes much longer. */
    double mean = 0;
    if (slow->touched < 1 && node->mean_ms > 0)
        mean = above(added * calls * slow->touched, NOTICEABLE * (double)node->mean_ms, slow->deviation);
    /* Nothing is known of its latency: the upper end for what waits in most requests. */
    if (node->p90_ms <= 0 && node->mean_ms <= 0)
        p90 = above(share, SHARE_NEEDED, SHARE_WIDTH);
    return slow->callers * (p90 > mean ? p90 : mean);
}

/* What a rank test of as many durations could show of a shift by half, in its deviations: Mann-Whitney's U
 * has the mean nm P(X > Y) and, of equal distributions, the variance nm (n + m + 1) / 12. */
static double drift_evidence(const propagation_latency *node) {
    double deviation = node->deviation > 0.05F ? (double)node->deviation : 0.05;
    double larger = normal_below(log(1 + NOTICEABLE) / deviation * M_SQRT1_2);
    return (larger - 0.5) * sqrt(12 * COMPARED * (double)node->durations / 2);
}

double propagation_drifts(const propagation_latency *node) {
    double drift = DRIFT_FAR * (node->drift < 0 ? DRIFT_UNKNOWN : (double)node->drift);
    drift = drift < DRIFT_MOST ? drift : DRIFT_MOST;
    if (node->durations > 0)
        drift *= normal_below((drift_evidence(node) - EVIDENCE_NEEDED) / EVIDENCE_WIDTH);
    return drift;
}

double propagation_stands_for(fault_kind fault, const propagation_latency *node) {
    const propagation_slowness *slow = &propagation_slownesses[fault];
    if (node->mean_ms <= 0)
        return 0;
    return STANDS_FOR *
           above(slow->added_ms * slow->touched, NOTICEABLE * (double)node->mean_ms, slow->deviation);
}
