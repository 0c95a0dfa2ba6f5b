/* See shadow.h. */
#include "shadow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"

#define TARGETS_KEPT 4U

typedef struct kept_verdict {
    Interlock__Policy__V1__Outcome outcome;
    char reason[48];
    char rule[POLICIES_NAME_BYTES + 1];
} kept_verdict;

struct shadow_difference {
    char action_id[LIMIT_ACTION_ID_BYTES + 1];
    char principal[LIMIT_NAME_BYTES + 1];
    char verb[ACTION_VERB_BYTES + 1];
    char targets[TARGETS_KEPT][LIMIT_NAME_BYTES + 1];
    size_t target_count;
    int64_t decided_at_ms;
    kept_verdict live, shadow;
};

void shadow_init(shadow *self) {
    *self = (shadow){0};
    books_init(&self->books);
    pthread_mutex_init(&self->lock, NULL);
}

void shadow_free(shadow *self) {
    books_free(&self->books);
    pthread_mutex_destroy(&self->lock);
    free(self->ring);
    self->ring = NULL;
}

/* ---- comparing ---- */

static bool denies(const Interlock__Policy__V1__Finding *finding, Interlock__Policy__V1__Outcome outcome) {
    bool opens = outcome == INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_ALLOW ||
                 outcome == INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_MODIFY;
    return (finding->result == INTERLOCK__POLICY__V1__FINDING__RESULT__RESULT_PASS) == opens;
}

/* The finding by which it was decided so: the first of the kind, or of one that opens the one of a rule. */
static kept_verdict verdict_of(const Interlock__Policy__V1__Decision *decision) {
    kept_verdict out = {.outcome = decision->outcome};
    for (size_t i = 0; i < decision->n_findings; i++) {
        const Interlock__Policy__V1__Finding *finding = decision->findings[i];
        bool ruled = finding->rule[0] != '\0' || !outcome_is_final(decision->outcome) ||
                     decision->outcome == INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_DENY;
        if (!denies(finding, decision->outcome) || !ruled)
            continue;
        (void)snprintf(out.reason, sizeof out.reason, "%s", finding->reason);
        (void)snprintf(out.rule, sizeof out.rule, "%s", finding->rule);
        break;
    }
    return out;
}

static bool differs(const kept_verdict *live, const kept_verdict *other) {
    return live->outcome != other->outcome || strcmp(live->reason, other->reason) != 0;
}

static void keep(shadow *self, const Interlock__Policy__V1__Decision *live, const kept_verdict *of_live,
                 const kept_verdict *of_shadow) {
    if (self->ring == NULL)
        self->ring = calloc(SHADOW_DIFFERENCES, sizeof *self->ring);
    if (self->ring == NULL)
        return;
    shadow_difference *entry = &self->ring[self->different % SHADOW_DIFFERENCES];
    *entry =
        (shadow_difference){.decided_at_ms = live->decided_at_ms, .live = *of_live, .shadow = *of_shadow};
    (void)snprintf(entry->action_id, sizeof entry->action_id, "%s", live->action_id);
    (void)snprintf(entry->principal, sizeof entry->principal, "%s", live->principal);
    (void)snprintf(entry->verb, sizeof entry->verb, "%s", live->verb);
    for (size_t i = 0; i < live->n_targets && i < TARGETS_KEPT; i++)
        (void)snprintf(entry->targets[entry->target_count++], LIMIT_NAME_BYTES + 1, "%s", live->targets[i]);
}

static void begin_anew(shadow *self, const policy_document *document, int64_t now_ms) {
    memcpy(self->digest, document->digest, sizeof self->digest);
    self->version = document->version;
    self->since_ms = now_ms;
    self->decisions = self->different = 0;
    memset(self->counts, 0, sizeof self->counts);
}

static void count(shadow *self, const policy_document *document, const Interlock__Policy__V1__Decision *live,
                  const Interlock__Policy__V1__Decision *other) {
    kept_verdict of_live = verdict_of(live), of_shadow = verdict_of(other);
    pthread_mutex_lock(&self->lock);
    if (self->version != document->version || strcmp(self->digest, document->digest) != 0)
        begin_anew(self, document, live->decided_at_ms);
    self->decisions++;
    if ((unsigned)live->outcome < SHADOW_OUTCOMES && (unsigned)other->outcome < SHADOW_OUTCOMES)
        self->counts[(unsigned)live->outcome][(unsigned)other->outcome]++;
    if (differs(&of_live, &of_shadow)) {
        keep(self, live, &of_live, &of_shadow);
        self->different++;
    }
    pthread_mutex_unlock(&self->lock);
}

void shadow_observe(shadow *self, const control_view *view, const decision_facts *facts,
                    const Interlock__Policy__V1__Decision *live, arena *memory) {
    bool unreadable = false;
    policy_document *document = books_acquire(&self->books, view->shadow, view->shadow_digest, &unreadable);
    if (document == NULL)
        return;
    Interlock__Policy__V1__Decision *other = NULL;
    decision_facts changed = *facts;
    changed.document = document;
    changed.policy_unreadable = false;
    if (decide(&changed, memory, &other, NULL) == STATUS_OK)
        count(self, document, live, other);
    document_unref(document);
}

/* ---- reporting ---- */

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "REPLY_TOO_LARGE",
                "the shadow's report is too large for one reply; ask for fewer differences");
}

static Interlock__Policy__V1__PolicyReference *reference_new(const Interlock__Control__V1__PolicySet *set,
                                                             const char *digest, arena *memory) {
    Interlock__Policy__V1__PolicyReference *made = arena_alloc(memory, sizeof *made);
    if (made == NULL)
        return NULL;
    interlock__policy__v1__policy_reference__init(made);
    made->name = arena_text(memory, set->name);
    made->version = set->version;
    made->digest = arena_text(memory, digest);
    return made->name == NULL || made->digest == NULL ? NULL : made;
}

static Interlock__Policy__V1__Verdict *verdict_new(const kept_verdict *from, arena *memory) {
    Interlock__Policy__V1__Verdict *made = arena_alloc(memory, sizeof *made);
    if (made == NULL)
        return NULL;
    interlock__policy__v1__verdict__init(made);
    made->outcome = from->outcome;
    made->reason = arena_text(memory, from->reason);
    made->rule = arena_text(memory, from->rule);
    return made->reason == NULL || made->rule == NULL ? NULL : made;
}

static Interlock__Policy__V1__ShadowDifference *difference_new(const shadow_difference *from, arena *memory) {
    Interlock__Policy__V1__ShadowDifference *made = arena_alloc(memory, sizeof *made);
    if (made == NULL)
        return NULL;
    interlock__policy__v1__shadow_difference__init(made);
    made->action_id = arena_text(memory, from->action_id);
    made->principal = arena_text(memory, from->principal);
    made->verb = arena_text(memory, from->verb);
    made->targets = arena_zero(memory, TARGETS_KEPT, sizeof *made->targets);
    made->decided_at_ms = from->decided_at_ms;
    made->live = verdict_new(&from->live, memory);
    made->shadow = verdict_new(&from->shadow, memory);
    bool whole = made->action_id != NULL && made->principal != NULL && made->verb != NULL &&
                 made->targets != NULL && made->live != NULL && made->shadow != NULL;
    for (size_t i = 0; i < from->target_count && whole; i++) {
        made->targets[made->n_targets] = arena_text(memory, from->targets[i]);
        whole = made->targets[made->n_targets++] != NULL;
    }
    return whole ? made : NULL;
}

static bool add_count(const shadow *self, unsigned live, unsigned other, arena *memory,
                      Interlock__Policy__V1__GetShadowReportResponse *out) {
    Interlock__Policy__V1__ShadowCount *made = arena_alloc(memory, sizeof *made);
    if (made == NULL)
        return false;
    interlock__policy__v1__shadow_count__init(made);
    made->live = (Interlock__Policy__V1__Outcome)live;
    made->shadow = (Interlock__Policy__V1__Outcome)other;
    made->count = self->counts[live][other];
    out->counts[out->n_counts++] = made;
    return true;
}

static bool add_counts(const shadow *self, arena *memory,
                       Interlock__Policy__V1__GetShadowReportResponse *out) {
    out->counts = arena_zero(memory, (size_t)SHADOW_OUTCOMES * SHADOW_OUTCOMES, sizeof(void *));
    if (out->counts == NULL)
        return false;
    for (unsigned live = 0; live < SHADOW_OUTCOMES; live++)
        for (unsigned other = 0; other < SHADOW_OUTCOMES; other++)
            if (self->counts[live][other] > 0 && !add_count(self, live, other, memory, out))
                return false;
    return true;
}

static bool add_differences(const shadow *self, uint32_t limit, arena *memory,
                            Interlock__Policy__V1__GetShadowReportResponse *out) {
    size_t kept = self->different < SHADOW_DIFFERENCES ? (size_t)self->different : SHADOW_DIFFERENCES;
    size_t count = self->ring == NULL ? 0 : kept < limit ? kept : limit;
    out->differences = arena_zero(memory, count + 1, sizeof(void *));
    if (out->differences == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        const shadow_difference *from = &self->ring[(self->different - 1 - i) % SHADOW_DIFFERENCES];
        out->differences[i] = difference_new(from, memory);
        if (out->differences[i] == NULL)
            return false;
        out->n_differences++;
    }
    return true;
}

static bool add_all(const shadow *self, uint32_t limit, arena *memory,
                    Interlock__Policy__V1__GetShadowReportResponse *out) {
    out->since_ms = self->since_ms;
    out->decisions = self->decisions;
    out->different = self->different;
    return add_counts(self, memory, out) && add_differences(self, limit, memory, out);
}

status_code shadow_report(shadow *self, const control_view *view, uint32_t limit, arena *memory,
                          Interlock__Policy__V1__GetShadowReportResponse *out, failure *why) {
    if (view->policy != NULL) {
        out->live = reference_new(view->policy, view->policy_digest, memory);
        if (out->live == NULL)
            return no_memory(why);
    }
    if (view->shadow == NULL || view->shadow->document.len == 0)
        return STATUS_OK;
    out->shadow = reference_new(view->shadow, view->shadow_digest, memory);
    if (out->shadow == NULL)
        return no_memory(why);
    pthread_mutex_lock(&self->lock);
    bool counted = self->version == view->shadow->version && strcmp(self->digest, view->shadow_digest) == 0;
    bool whole = !counted || add_all(self, limit, memory, out);
    pthread_mutex_unlock(&self->lock);
    return whole ? STATUS_OK : no_memory(why);
}

void shadow_write_metrics(shadow *self, buffer *out) {
    pthread_mutex_lock(&self->lock);
    uint64_t decisions = self->decisions, different = self->different;
    pthread_mutex_unlock(&self->lock);
    metrics_family(out, "interlock_policy_shadow_decisions", "gauge",
                   "Decisions made a second time by the present shadow set.");
    metrics_sample(out, "interlock_policy_shadow_decisions", "", (double)decisions);
    metrics_family(out, "interlock_policy_shadow_different", "gauge",
                   "Of these, how many it decided otherwise.");
    metrics_sample(out, "interlock_policy_shadow_different", "", (double)different);
}
