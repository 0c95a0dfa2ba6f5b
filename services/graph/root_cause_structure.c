/* Structure: what a service does in a request, compared with what it did in requests of the same kind. The
 * unit is an invocation, the features are its own operations, the operations that it calls and the patterns
 * that it logs, each as "at least once", "at least twice". It is compared with the invocations of the same
 * caller's operation and signature; where those are few, with those of the same caller's operation; where
 * those are few, with those of all callers.
 *
 * An invocation is not to blame when an altered one of another service is below it: that explains it. */
#include <math.h>
#include <stdlib.h>

#include "root_cause_internal.h"

enum { CONTEXT_ROOT = 1, CONTEXT_COARSE, CONTEXT_FINE, CONTEXT_ANY, CONTEXT_SERVICE };

static uint64_t key_root(uint32_t operation) {
    return mix64(operation, CONTEXT_ROOT);
}
static uint64_t key_coarse(uint32_t operation, uint32_t caller) {
    return mix64(mix64(operation, CONTEXT_COARSE), caller);
}
static uint64_t key_fine(uint32_t operation, uint32_t caller, uint64_t signature) {
    return mix64(mix64(mix64(operation, CONTEXT_FINE), caller), signature);
}
static uint64_t key_any(uint32_t operation) {
    return mix64(operation, CONTEXT_ANY);
}
static uint64_t key_service(uint32_t service) {
    return mix64(service, CONTEXT_SERVICE);
}
static uint64_t key_signature(uint32_t operation, uint64_t signature) {
    return mix64(mix64(operation, 77), signature);
}

/* ---- Tables
 * ------------------------------------------------------------------------------------------------------- */

void group_table_init(group_table *self) {
    *self = (group_table){0};
    list_init(&self->groups, sizeof(group));
    list_init(&self->cells, sizeof(cell));
}

void group_table_free(group_table *self) {
    key_map_free(&self->by_key);
    key_map_free(&self->cell_by_key);
    list_free(&self->groups);
    list_free(&self->cells);
}

static group *group_find(const group_table *self, uint64_t key) {
    uint32_t at = key_map_find(&self->by_key, key);
    return at == KEY_MAP_NONE || at >= self->groups.count ? NULL : list_at(&self->groups, at);
}

static uint32_t group_size(const group_table *self, uint64_t key) {
    const group *found = group_find(self, key);
    return found == NULL ? 0 : found->count;
}

static cell *cell_find(const group_table *self, uint64_t key, feature what) {
    uint32_t at = key_map_find(&self->cell_by_key, mix64(key, what));
    return at == KEY_MAP_NONE || at >= self->cells.count ? NULL : list_at(&self->cells, at);
}

static group *group_at(group_table *self, uint64_t key, uint32_t operation) {
    uint32_t at = key_map_add(&self->by_key, key, self->groups.count);
    if (at < self->groups.count)
        return list_at(&self->groups, at);
    group *made = list_add(&self->groups);
    made->key = key;
    made->operation = operation;
    made->first_cell = EVIDENCE_NONE;
    made->caller_operation = EVIDENCE_NONE;
    return made;
}

static void cell_add(group_table *self, uint64_t key, feature what, bool late, bool odd) {
    uint32_t at = key_map_add(&self->cell_by_key, mix64(key, what), self->cells.count);
    if (at >= self->cells.count) {
        group *owner = group_find(self, key);
        cell *made = list_add(&self->cells);
        made->what = what;
        if (owner == NULL || self->cells.failed)
            return;
        made->next = owner->first_cell;
        owner->first_cell = at;
    }
    cell *it = list_at(&self->cells, at);
    it->count++;
    it->late += late;
    it->odd += odd;
    it->odd_late += odd && late;
}

/* "At least twice" is the most that is asked of operations, "three times" of records. */
static uint32_t times_asked(feature what) {
    uint32_t most = FEATURE_KIND(what) == FEATURE_PATTERN ? 3 : 2;
    return FEATURE_COUNT(what) < most ? FEATURE_COUNT(what) : most;
}

static void group_count(const work *owner, group_table *self, group *into, const invocation *one, bool odd) {
    uint64_t key = into->key;
    into->count++;
    into->late += one->late;
    for (uint32_t i = 0; i < one->feature_count; i++) {
        feature what = *(const feature *)list_at(&owner->features, one->first_feature + i);
        for (uint32_t times = 1; times <= times_asked(what); times++)
            cell_add(self, key, FEATURE_PLAIN(what) | times, one->late, odd);
    }
}

/* ---- What is known from the normal period
 * -----------------------------------------------------------------------------------------------------------
 */

typedef struct signature_record {
    uint32_t operation, count;
    uint32_t example; /* an invocation that has it */
    uint32_t next;    /* of the same operation */
} signature_record;

typedef struct known_signatures {
    key_map by_key, first_by_operation;
    list records;
    key_map memo; /* signature key -> unknown or not */
} known_signatures;

static void signature_learn(known_signatures *self, const invocation *one, uint32_t index) {
    uint32_t at =
        key_map_add(&self->by_key, key_signature(one->operation, one->signature), self->records.count);
    if (at < self->records.count) {
        ((signature_record *)list_at(&self->records, at))->count++;
        return;
    }
    signature_record *made = list_add(&self->records);
    *made =
        (signature_record){.operation = one->operation, .count = 1, .example = index, .next = EVIDENCE_NONE};
    uint32_t first = key_map_add(&self->first_by_operation, (uint64_t)one->operation + 1, at);
    if (first != at && first < self->records.count) {
        signature_record *head = list_at(&self->records, first);
        made->next = head->next;
        head->next = at;
    }
}

static void known_free(known_signatures *self) {
    key_map_free(&self->by_key);
    key_map_free(&self->first_by_operation);
    key_map_free(&self->memo);
    list_free(&self->records);
}

static void normal_learn(work *self, known_signatures *known) {
    for (uint32_t i = 0; i < self->invocations.count; i++) {
        const invocation *one = invocation_at(self, i);
        if (!one->window && !one->orphan)
            signature_learn(known, one, i);
    }
    group_table *table = &self->normal;
    for (uint32_t i = 0; i < self->invocations.count; i++) {
        const invocation *one = invocation_at(self, i);
        if (one->window || one->orphan)
            continue;
        uint32_t at = key_map_find(&known->by_key, key_signature(one->operation, one->signature));
        bool single =
            at < known->records.count && ((signature_record *)list_at(&known->records, at))->count == 1;
        group_count(self, table, group_at(table, key_any(one->operation), one->operation), one, single);
        group_count(self, table, group_at(table, key_service(one->service), one->operation), one, false);
        if (one->caller == NO_INVOCATION) {
            group_count(self, table, group_at(table, key_root(one->operation), one->operation), one, false);
            continue;
        }
        const invocation *caller = invocation_at(self, one->caller);
        uint64_t coarse = key_coarse(one->operation, caller->operation);
        uint64_t fine = key_fine(one->operation, caller->operation, caller->signature);
        group_count(self, table, group_at(table, coarse, one->operation), one, false);
        group_count(self, table, group_at(table, fine, one->operation), one, false);
    }
}

/* ---- Which invocations of the window are altered
 * ---------------------------------------------------------------------------------------------------- */

static bool invocation_has(const work *self, const invocation *one, feature what) {
    for (uint32_t i = 0; i < one->feature_count; i++) {
        feature own = *(const feature *)list_at(&self->features, one->first_feature + i);
        if (FEATURE_PLAIN(own) == FEATURE_PLAIN(what))
            return times_asked(own) >= FEATURE_COUNT(what);
    }
    return false;
}

/* Present now and then, twice at least either way. */
static bool feature_is_optional(const work *self, uint32_t operation, feature plain) {
    uint32_t all = group_size(&self->normal, key_any(operation));
    const cell *found = cell_find(&self->normal, key_any(operation), plain | 1);
    return found != NULL && found->count >= 2 && found->count + 2 <= all;
}

/* The signature is a known one with optional features added. */
static bool signature_extends(const work *self, const invocation *one, const invocation *known) {
    uint32_t shared = 0;
    uint32_t known_count = 0;
    for (uint32_t i = 0; i < known->feature_count; i++) {
        feature what = *(const feature *)list_at(&self->features, known->first_feature + i);
        if (FEATURE_KIND(what) == FEATURE_PATTERN)
            continue;
        known_count++;
        shared += invocation_has(self, one, FEATURE_PLAIN(what) | 1);
    }
    if (known_count == 0 || shared != known_count)
        return false;
    for (uint32_t i = 0; i < one->feature_count; i++) {
        feature what = *(const feature *)list_at(&self->features, one->first_feature + i);
        if (FEATURE_KIND(what) != FEATURE_PATTERN && !invocation_has(self, known, FEATURE_PLAIN(what) | 1) &&
            !feature_is_optional(self, one->operation, FEATURE_PLAIN(what)))
            return false;
    }
    return true;
}

#define SIGNATURES_LOOKED_AT 256U

static bool signature_is_unknown(const work *self, known_signatures *known, const invocation *one) {
    uint64_t key = key_signature(one->operation, one->signature);
    if (key_map_find(&known->by_key, key) != KEY_MAP_NONE)
        return false;
    uint32_t before = key_map_find(&known->memo, key);
    if (before != KEY_MAP_NONE)
        return before == 1;
    uint32_t at = key_map_find(&known->first_by_operation, (uint64_t)one->operation + 1);
    bool extends = false;
    for (uint32_t n = 0; at < known->records.count && !extends && n < SIGNATURES_LOOKED_AT; n++) {
        const signature_record *record = list_at(&known->records, at);
        extends = signature_extends(self, one, invocation_at(self, record->example));
        at = record->next;
    }
    key_map_add(&known->memo, key, extends ? 0 : 1);
    return !extends;
}

/* Lacks what was always there, or has what the service never had. */
static bool invocation_is_altered(const work *self, const invocation *one) {
    const group *any = group_find(&self->normal, key_any(one->operation));
    uint32_t least = self->parameters->least;
    for (uint32_t at = any != NULL && any->count >= least ? any->first_cell : EVIDENCE_NONE;
         at != EVIDENCE_NONE;) {
        const cell *it = list_at(&self->normal.cells, at);
        if (it->count == any->count && !invocation_has(self, one, it->what))
            return true;
        at = it->next;
    }
    if (group_size(&self->normal, key_service(one->service)) < least)
        return false;
    for (uint32_t i = 0; i < one->feature_count; i++) {
        feature what = *(const feature *)list_at(&self->features, one->first_feature + i);
        if (cell_find(&self->normal, key_service(one->service), FEATURE_PLAIN(what) | 1) == NULL)
            return true;
    }
    return false;
}

/* ---- New errors
 * ------------------------------------------------------------------------------------------------------- */

typedef struct error_hit {
    uint32_t invocation, error, trace;
} error_hit;

static void new_errors_find(work *self, list *hits) {
    for (uint32_t t = 0; t < self->from->trace_count; t++) {
        const evidence_trace *trace = &self->from->traces[t];
        for (uint32_t r = 0; self->period[t] == 2 && r < trace->record_count; r++) {
            const evidence_record *record = &self->from->records[trace->first_record + r];
            if (record->error == EVIDENCE_NONE ||
                key_map_find(&self->normal_errors, (uint64_t)record->error + 1) != KEY_MAP_NONE)
                continue;
            uint32_t index = self->of_span[trace->first_span + record->span];
            invocation_at(self, index)->new_error = true;
            error_hit *made = list_add(hits);
            *made = (error_hit){.invocation = index, .error = record->error, .trace = t};
        }
    }
}

/* Credited to the deepest invocation that has them. */
static void new_errors_score(work *self, const list *hits) {
    key_map seen = {0};
    key_map by_error = {0};
    tally traces;
    tally_init(&traces);
    for (uint32_t i = 0; i < hits->count; i++) {
        const error_hit *hit = list_at(hits, i);
        const invocation *one = invocation_at(self, hit->invocation);
        if (one->explained)
            continue;
        uint64_t key = mix64(mix64(one->service, hit->trace), 3);
        if (key_map_add(&seen, key, i) == i)
            tally_add(&traces, (uint64_t)one->service + 1, 1);
        onset_note(self, one->service, one->start_us / 1000);
        uint32_t at = key_map_add(&by_error, mix64(one->service, hit->error), self->error_findings.count);
        if (at >= self->error_findings.count) {
            error_finding *made = list_add(&self->error_findings);
            *made =
                (error_finding){.service = one->service, .error = hit->error, .at_ms = one->start_us / 1000};
        }
        error_finding *found = at < self->error_findings.count ? list_at(&self->error_findings, at) : NULL;
        if (found != NULL)
            found->traces++;
    }
    for (uint32_t s = 0; s < self->from->service_count; s++)
        *channel_of(self, s, CLUE_ERROR) =
            fmin(self->parameters->structure, log1p(tally_of(&traces, (uint64_t)s + 1)));
    self->out_of_memory |= seen.failed || by_error.failed || traces.map.failed || traces.values.failed;
    key_map_free(&seen);
    key_map_free(&by_error);
    tally_free(&traces);
}

/* ---- Comparing rates
 * -------------------------------------------------------------------------------------------------- */

static double log_beta(double a, double b) {
    int sign;
    return lgamma_r(a, &sign) + lgamma_r(b, &sign) - lgamma_r(a + b, &sign);
}

/* Natural logarithm of the Bayes factor of "two rates" against "one rate". */
static double rates_bayes(double with1, double all1, double with0, double all0, double a) {
    return log_beta(with1 + a, all1 - with1 + a) + log_beta(with0 + a, all0 - with0 + a) - log_beta(a, a) -
           log_beta(with1 + with0 + a, all1 - with1 + all0 - with0 + a);
}

static void finding_add(work *self, const group *of, structure_finding what) {
    what.value = what.effect * (1 - exp(-what.bayes / self->parameters->evidence_full));
    what.service = self->from->operations[of->operation].service;
    what.operation = of->operation;
    what.caller_operation = of->caller_operation;
    structure_finding *made = list_add(&self->structure_findings);
    *made = what;
}

static void feature_compare(work *self, const group *of, feature what, uint32_t with1, uint32_t late1,
                            uint32_t with0, uint32_t all0) {
    const root_cause_parameters *p = self->parameters;
    bool sometimes = with0 > 0 && with0 < all0;
    if (of->any_caller && sometimes)
        return;
    double worth1 = sometimes ? 1 / (1 + (of->count - 1) * p->correlation) : 1;
    double worth0 = sometimes ? 1 / (1 + (all0 - 1) * p->correlation) : 1;
    double bayes = rates_bayes(with1 * worth1, of->count * worth1, with0 * worth0, all0 * worth0, p->prior);
    if (bayes < p->evidence_least)
        return;
    double rate0 = (double)with0 / all0;
    double effect = fabs((double)with1 / of->count - rate0);
    if (of->late >= p->least)
        effect = fmax(effect, fabs((double)late1 / of->late - rate0));
    if (sometimes)
        effect *= p->sometimes;
    finding_add(self, of,
                (structure_finding){.what = what,
                                    .effect = effect,
                                    .bayes = bayes,
                                    .window_with = with1,
                                    .window_all = of->count,
                                    .normal_with = with0,
                                    .normal_all = all0});
}

/* Invocations that have a feature are otherwise unlike anything before. */
static void novelty_compare(work *self, const group *of, const cell *it) {
    const root_cause_parameters *p = self->parameters;
    const cell *normal = cell_find(&self->normal, key_any(of->operation), it->what);
    if (FEATURE_KIND(it->what) == FEATURE_PATTERN || FEATURE_COUNT(it->what) != 1 || it->count < p->least ||
        normal == NULL || normal->count < p->least)
        return;
    double rate1 = (double)it->odd / it->count;
    double rate0 = (double)normal->odd / normal->count;
    double bayes = rates_bayes(it->odd, it->count, normal->odd, normal->count, p->prior);
    if (bayes < p->evidence_least || rate1 <= rate0)
        return;
    if (it->late >= p->least)
        rate1 = fmax(rate1, (double)it->odd_late / it->late);
    finding_add(self, of,
                (structure_finding){.what = it->what,
                                    .unseen = true,
                                    .effect = rate1 - rate0,
                                    .bayes = bayes,
                                    .window_with = it->odd,
                                    .window_all = it->count,
                                    .normal_with = normal->odd,
                                    .normal_all = normal->count});
}

static void group_compare(work *self, const group *of) {
    const root_cause_parameters *p = self->parameters;
    const group *normal = group_find(&self->normal, of->normal_key);
    if (normal == NULL || normal->count < p->least || of->count < p->least)
        return;
    for (uint32_t at = of->first_cell; at != EVIDENCE_NONE;) {
        const cell *it = list_at(&self->window.cells, at);
        const cell *before = cell_find(&self->normal, of->normal_key, it->what);
        feature_compare(self, of, it->what, it->count, it->late, before == NULL ? 0 : before->count,
                        normal->count);
        novelty_compare(self, of, it);
        at = it->next;
    }
    for (uint32_t at = normal->first_cell; at != EVIDENCE_NONE;) {
        const cell *it = list_at(&self->normal.cells, at);
        if (cell_find(&self->window, of->key, it->what) == NULL)
            feature_compare(self, of, it->what, 0, 0, it->count, normal->count);
        at = it->next;
    }
}

/* ---- The window
 * ------------------------------------------------------------------------------------------------------- */

static void altered_find(work *self, known_signatures *known) {
    for (uint32_t i = 0; i < self->invocations.count; i++) {
        invocation *one = invocation_at(self, i);
        if (!one->window || one->orphan)
            continue;
        one->unknown = signature_is_unknown(self, known, one);
        one->altered = one->unknown || one->new_error || invocation_is_altered(self, one);
    }
    for (uint32_t i = 0; i < self->invocations.count; i++) {
        const invocation *one = invocation_at(self, i);
        uint32_t at = one->altered ? one->caller : NO_INVOCATION;
        for (uint32_t steps = 0; at != NO_INVOCATION && steps < CLIMB_MAX; steps++) {
            invocation *above = invocation_at(self, at);
            if (above->service != one->service)
                above->explained = true;
            at = above->caller;
        }
    }
}

/* The group of an invocation of the window, and what it is compared with. */
static group *window_group(work *self, const invocation *one) {
    uint32_t least = self->parameters->least;
    if (one->caller == NO_INVOCATION) {
        group *it = group_at(&self->window, key_root(one->operation), one->operation);
        it->normal_key = it->key;
        return it;
    }
    const invocation *caller = invocation_at(self, one->caller);
    uint64_t fine = key_fine(one->operation, caller->operation, caller->signature);
    uint64_t coarse = key_coarse(one->operation, caller->operation);
    uint64_t key = group_size(&self->normal, fine) >= least ? fine : coarse;
    bool any = group_size(&self->normal, key) < least && group_size(&self->normal, coarse) >= 1;
    group *it = group_at(&self->window, any ? key_any(one->operation) : key, one->operation);
    it->normal_key = it->key;
    it->any_caller = any;
    it->caller_operation = any ? EVIDENCE_NONE : caller->operation;
    return it;
}

static void window_count(work *self) {
    for (uint32_t i = 0; i < self->invocations.count; i++) {
        const invocation *one = invocation_at(self, i);
        if (!one->window || one->orphan || one->explained)
            continue;
        if (one->altered)
            onset_note(self, one->service, one->start_us / 1000);
        group_count(self, &self->window, window_group(self, one), one, one->unknown);
    }
}

/* ---- A callee that several callers stumble over
 * ------------------------------------------------------------------------------------------------ */

static uint32_t last_callee(const work *self, const invocation *one) {
    uint32_t last = NO_INVOCATION;
    for (uint32_t at = one->first_callee; at != NO_INVOCATION; at = invocation_at(self, at)->next_callee) {
        if (last == NO_INVOCATION || invocation_at(self, at)->end_us > invocation_at(self, last)->end_us)
            last = at;
    }
    return last;
}

typedef struct stumble {
    uint32_t caller, callee;
    double count;
} stumble;

static void stumbles_count(const work *self, list *stumbles, key_map *by_pair, double *altered) {
    for (uint32_t i = 0; i < self->invocations.count; i++) {
        const invocation *one = invocation_at(self, i);
        if (!one->window || one->orphan || !one->unknown || one->explained)
            continue;
        altered[one->service]++;
        uint32_t last = last_callee(self, one);
        if (last == NO_INVOCATION)
            continue;
        uint32_t callee = invocation_at(self, last)->service;
        uint32_t at = key_map_add(by_pair, ((uint64_t)one->service << 32 | callee) + 1, stumbles->count);
        stumble *it = at < stumbles->count ? list_at(stumbles, at) : list_add(stumbles);
        it->caller = one->service;
        it->callee = callee;
        it->count++;
    }
}

/* Two callers or more that end on one callee give it their score; one alone gives a part. */
static void stumbles_move(const work *self, const list *stumbles, const double *altered, double *score) {
    const root_cause_parameters *p = self->parameters;
    uint32_t services = self->from->service_count;
    double *given = calloc(services * 2U, sizeof *given);
    uint32_t *givers = calloc(services, sizeof *givers);
    if (given != NULL && givers != NULL) {
        for (uint32_t i = 0; i < stumbles->count; i++) {
            const stumble *it = list_at(stumbles, i);
            double part = it->count / altered[it->caller];
            if (part < p->callee_share || score[it->caller] <= 0)
                continue;
            given[it->callee] += part * score[it->caller];
            givers[it->callee]++;
        }
        for (uint32_t i = 0; i < stumbles->count; i++) {
            const stumble *it = list_at(stumbles, i);
            double part = it->count / altered[it->caller];
            if (part >= p->callee_share && score[it->caller] > 0 && givers[it->callee] >= 2)
                given[services + it->caller] += part * score[it->caller];
        }
        for (uint32_t s = 0; s < services; s++) {
            score[s] = fmax(0, score[s] - given[services + s]);
            if (givers[s] >= 2)
                score[s] += given[s];
            else if (givers[s] == 1)
                score[s] = fmax(score[s], p->callee_part * given[s]);
        }
    }
    free(given);
    free(givers);
}

static void structure_score(work *self) {
    uint32_t services = self->from->service_count;
    double *score = calloc(services, sizeof *score);
    double *altered = calloc(services, sizeof *altered);
    list stumbles;
    key_map by_pair = {0};
    list_init(&stumbles, sizeof(stumble));
    if (score == NULL || altered == NULL) {
        self->out_of_memory = true;
    } else {
        for (uint32_t i = 0; i < self->structure_findings.count; i++) {
            const structure_finding *it = list_at(&self->structure_findings, i);
            score[it->service] = fmax(score[it->service], it->value);
        }
        stumbles_count(self, &stumbles, &by_pair, altered);
        stumbles_move(self, &stumbles, altered, score);
        for (uint32_t s = 0; s < services; s++)
            *channel_of(self, s, CLUE_STRUCTURE) = self->parameters->structure * score[s];
    }
    self->out_of_memory |= stumbles.failed || by_pair.failed;
    list_free(&stumbles);
    key_map_free(&by_pair);
    free(score);
    free(altered);
}

void structure_compare(work *self) {
    known_signatures known = {0};
    list hits;
    list_init(&known.records, sizeof(signature_record));
    list_init(&hits, sizeof(error_hit));
    normal_learn(self, &known);
    new_errors_find(self, &hits);
    altered_find(self, &known);
    window_count(self);
    for (uint32_t i = 0; i < self->window.groups.count; i++)
        group_compare(self, list_at(&self->window.groups, i));
    structure_score(self);
    new_errors_score(self, &hits);
    self->out_of_memory |= known.records.failed || known.by_key.failed || hits.failed ||
                           self->normal.cells.failed || self->normal.groups.failed ||
                           self->window.cells.failed || self->window.groups.failed;
    known_free(&known);
    list_free(&hits);
}
