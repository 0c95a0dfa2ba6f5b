/* The past, as if agents had proposed it: attributing incidents to changes, judging, counting. */
#include "backtest.h"

#include <stdlib.h>
#include <string.h>
#define HASH_NONFATAL_OOM 1 /* an item is not added; otherwise uthash would end the process */
#include <uthash.h>

#define SCRATCH_BYTES (8U << 20)

/* ---- order ---- */

static int change_order(const void *a, const void *b) {
    const backtest_change *left = a, *right = b;
    if (left->time_ms != right->time_ms)
        return left->time_ms < right->time_ms ? -1 : 1;
    return strcmp(left->id, right->id);
}

static int incident_order(const void *a, const void *b) {
    const backtest_incident *left = a, *right = b;
    if (left->opened_ms != right->opened_ms)
        return left->opened_ms < right->opened_ms ? -1 : 1;
    return strcmp(left->name, right->name);
}

void backtest_sort(backtest *self) {
    if (self->change_count > 0)
        qsort(self->changes, self->change_count, sizeof *self->changes, change_order);
    if (self->incident_count > 0)
        qsort(self->incidents, self->incident_count, sizeof *self->incidents, incident_order);
    self->from_ms = INT64_MAX;
    if (self->change_count > 0) {
        self->from_ms = self->changes[0].time_ms;
        self->to_ms = self->changes[self->change_count - 1].time_ms;
    }
    for (size_t i = 0; i < self->incident_count; i++) {
        int64_t opened = self->incidents[i].opened_ms;
        self->from_ms = opened < self->from_ms ? opened : self->from_ms;
        self->to_ms = opened > self->to_ms ? opened : self->to_ms;
    }
}

/* ---- attribution ---- */

static bool is_among(const char *name, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool is_stated(const backtest_incident *incident, const backtest_change *change) {
    const char *const *causes = incident->caused_by;
    return is_among(change->id, causes, incident->caused_by_count) ||
           (change->node[0] != '\0' && is_among(change->node, causes, incident->caused_by_count));
}

static bool touches(const backtest_incident *incident, const backtest_change *change) {
    for (size_t i = 0; i < change->service_count; i++)
        if (is_among(change->services[i], incident->affected, incident->affected_count))
            return true;
    return false;
}

static bool reaches(const backtest_incident *incident, const backtest_change *change) {
    const policy_impact_facts *impact = &change->facts.impact;
    for (size_t i = 0; impact->known && i < impact->affected_count; i++)
        if (impact->affected[i].probability >= BACKTEST_HIT &&
            is_among(impact->affected[i].name, incident->affected, incident->affected_count))
            return true;
    return false;
}

/* The first change after that time. */
static size_t change_after(const backtest *self, int64_t time_ms) {
    size_t low = 0, high = self->change_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (self->changes[middle].time_ms <= time_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

typedef bool (*is_cause)(const backtest_incident *incident, const backtest_change *change);

/* The latest before the incident, not more than the window before. */
static size_t latest(const backtest *self, const backtest_incident *incident, int64_t window_ms,
                     is_cause test) {
    for (size_t i = change_after(self, incident->opened_ms); i > 0; i--) {
        const backtest_change *change = &self->changes[i - 1];
        if (incident->opened_ms - change->time_ms > window_ms)
            break;
        if (test(incident, change))
            return i - 1;
    }
    return BACKTEST_NONE;
}

void backtest_attribute(backtest *self, int64_t window_ms) {
    for (size_t i = 0; i < self->incident_count; i++) {
        backtest_incident *incident = &self->incidents[i];
        if (incident->caused_by_count > 0) {
            incident->cause = latest(self, incident, INT64_MAX, is_stated);
        } else {
            incident->cause = latest(self, incident, window_ms, touches);
            if (incident->cause == BACKTEST_NONE)
                incident->cause = latest(self, incident, window_ms, reaches);
            incident->presumed = incident->cause != BACKTEST_NONE;
        }
        if (incident->cause != BACKTEST_NONE)
            self->changes[incident->cause].incident_count++;
    }
}

/* ---- history: what was known by then ---- */

typedef struct past {
    char *key; /* "verb target", or "target" */
    uint32_t actions, failed;
    int64_t last_incident_ms;
    UT_hash_handle hh;
} past;

typedef struct judging {
    backtest *self;
    const policy_set *set;
    past *known;
    arena keys, scratch;
    size_t next_incident;
    failure *why;
} judging;

static past *past_of(judging *work, const char *verb, const char *target) {
    past *found = NULL;
    char *key = arena_format(&work->keys, "%s%s%s", verb, verb[0] != '\0' ? " " : "", target);
    if (key == NULL)
        return NULL;
    HASH_FIND_STR(work->known, key, found);
    if (found != NULL)
        return found;
    found = arena_zero(&work->keys, 1, sizeof *found);
    if (found == NULL)
        return NULL;
    found->key = key;
    HASH_ADD_KEYPTR(hh, work->known, found->key, strlen(found->key), found);
    return found->hh.tbl != NULL ? found : NULL;
}

static bool note_incident(judging *work, const backtest_incident *incident) {
    const backtest_change *cause =
        incident->cause != BACKTEST_NONE ? &work->self->changes[incident->cause] : NULL;
    for (size_t i = 0; i < incident->affected_count; i++) {
        past *target = past_of(work, "", incident->affected[i]);
        if (target == NULL)
            return false;
        target->last_incident_ms = incident->opened_ms;
    }
    for (size_t i = 0; cause != NULL && i < cause->service_count; i++) {
        past *verb = past_of(work, cause->verb, cause->services[i]);
        past *target = past_of(work, "", cause->services[i]);
        if (verb == NULL || target == NULL)
            return false;
        verb->failed++;
        target->last_incident_ms = incident->opened_ms;
    }
    return true;
}

static bool fill_history(judging *work, backtest_change *change) {
    policy_history_facts *history = &change->facts.history;
    *history = (policy_history_facts){.known = true};
    for (size_t i = 0; i < change->service_count; i++) {
        past *verb = past_of(work, change->verb, change->services[i]);
        past *target = past_of(work, "", change->services[i]);
        if (verb == NULL || target == NULL)
            return false;
        history->actions += verb->actions++;
        history->failed += verb->failed;
        if (target->last_incident_ms > history->last_incident_ms)
            history->last_incident_ms = target->last_incident_ms;
    }
    if (history->failed > history->actions)
        history->failed = history->actions;
    history->succeeded = history->actions - history->failed;
    return true;
}

/* ---- judging ---- */

static const policy_rule *rule_by_which(const policy_result *result) {
    if (result->decisive != NULL)
        return result->decisive->rule;
    return result->reason == POLICY_OVER_BOUND ? result->bounds.of[result->over].rule : NULL;
}

static const char *detail_of(const policy_result *result, arena *memory) {
    if (result->fact != NULL && result->fact[0] != '\0')
        return arena_format(memory, "lacks %s", result->fact);
    if (result->reason == POLICY_RULE_FAILED && result->decisive != NULL && result->decisive->detail != NULL)
        return arena_format(memory, "%.*s", (int)strcspn(result->decisive->detail, "\n"),
                            result->decisive->detail);
    return "";
}

static bool keep_verdict(judging *work, backtest_change *change, const policy_result *result) {
    backtest *self = work->self;
    change->outcome = result->outcome;
    change->reason = result->reason;
    change->rule = rule_by_which(result);
    change->message = "";
    change->detail = detail_of(result, self->memory);
    bool said = result->reason != POLICY_RULE_FAILED && result->reason != POLICY_FACT_UNKNOWN;
    if (result->outcome != POLICY_ALLOW && change->rule != NULL && said) {
        const char *message = policies_message(change->rule, work->set, &change->facts, &work->scratch);
        change->message = arena_text(self->memory, message != NULL ? message : "");
    }
    for (size_t i = 0; i < result->finding_count; i++)
        self->rules[result->findings[i].rule->index].held += result->findings[i].state == POLICY_HOLDS;
    return change->message != NULL && change->detail != NULL;
}

static status_code judge_one(judging *work, backtest_change *change) {
    policy_result result;
    while (work->next_incident < work->self->incident_count &&
           work->self->incidents[work->next_incident].opened_ms < change->time_ms)
        if (!note_incident(work, &work->self->incidents[work->next_incident++]))
            return fail(work->why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the history");
    if (!fill_history(work, change))
        return fail(work->why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the history");
    arena_reset(&work->scratch);
    status_code code = policies_evaluate(work->set, &change->facts, &work->scratch, &result, work->why);
    if (code == STATUS_OK && !keep_verdict(work, change, &result))
        code = fail(work->why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the verdicts");
    return code;
}

/* ---- counting ---- */

static backtest_rule *tally_of(backtest *self, const backtest_change *change) {
    return change->rule != NULL ? &self->rules[change->rule->index] : &self->nothing;
}

static void count_incident(backtest *self, const backtest_incident *incident) {
    backtest_totals *totals = &self->totals;
    if (incident->cause == BACKTEST_NONE)
        return;
    const backtest_change *cause = &self->changes[incident->cause];
    totals->with_cause++;
    totals->presumed += incident->presumed;
    totals->prevented += cause->outcome == POLICY_DENY;
    totals->held += cause->outcome == POLICY_REVIEW || cause->outcome == POLICY_DEFER;
    totals->narrowed += cause->outcome == POLICY_MODIFY;
    totals->missed += cause->outcome == POLICY_ALLOW;
    if (cause->outcome == POLICY_DENY)
        tally_of(self, cause)->prevented++;
}

static void count_change(backtest *self, const backtest_change *change) {
    backtest_totals *totals = &self->totals;
    bool harmless = change->incident_count == 0;
    totals->by_outcome[change->outcome]++;
    totals->false_alarms += harmless && change->outcome == POLICY_DENY;
    totals->quiet_waits += harmless && (change->outcome == POLICY_REVIEW || change->outcome == POLICY_DEFER);
    if (change->outcome != POLICY_ALLOW)
        tally_of(self, change)->decisive++;
    if (harmless && change->outcome == POLICY_DENY)
        tally_of(self, change)->false_alarms++;
}

status_code backtest_judge(backtest *self, const policy_set *set, void (*each)(void *context, size_t done),
                           void *context, failure *why) {
    judging work = {.self = self, .set = set, .why = why};
    status_code code = STATUS_OK;
    self->rules = arena_zero(self->memory, set->rule_count + 1, sizeof *self->rules);
    if (self->rules == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the rules");
    arena_init(&work.keys, 65536, 256U << 20);
    arena_init(&work.scratch, 65536, SCRATCH_BYTES);
    for (size_t i = 0; i < self->change_count && code == STATUS_OK; i++) {
        code = judge_one(&work, &self->changes[i]);
        if (code == STATUS_OK)
            count_change(self, &self->changes[i]);
        if (each != NULL)
            each(context, i + 1);
    }
    for (size_t i = 0; i < self->incident_count && code == STATUS_OK; i++)
        count_incident(self, &self->incidents[i]);
    HASH_CLEAR(hh, work.known);
    arena_free(&work.keys);
    arena_free(&work.scratch);
    return code;
}
