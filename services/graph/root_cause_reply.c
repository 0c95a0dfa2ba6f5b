/* The engine's answer as a message, in the arena of the call. */
#include "root_cause_reply.h"

#include <string.h>

typedef Interlock__Graph__V1__Hypothesis hypothesis_message;
typedef Interlock__Graph__V1__CauseHop hop_message;
typedef Interlock__Graph__V1__CauseEvidence clue_message;
typedef Interlock__Graph__V1__CauseKind cause_kind_message;
typedef Interlock__Graph__V1__EvidenceKind clue_kind_message;

static const cause_kind_message cause_kinds[CAUSE_KINDS] = {
    [CAUSE_UNKNOWN] = INTERLOCK__GRAPH__V1__CAUSE_KIND__CAUSE_KIND_UNSPECIFIED,
    [CAUSE_DEPLOY] = INTERLOCK__GRAPH__V1__CAUSE_KIND__CAUSE_KIND_DEPLOY,
    [CAUSE_CONFIG] = INTERLOCK__GRAPH__V1__CAUSE_KIND__CAUSE_KIND_CONFIG,
    [CAUSE_RESOURCE] = INTERLOCK__GRAPH__V1__CAUSE_KIND__CAUSE_KIND_RESOURCE,
    [CAUSE_NETWORK] = INTERLOCK__GRAPH__V1__CAUSE_KIND__CAUSE_KIND_NETWORK,
    [CAUSE_CODE] = INTERLOCK__GRAPH__V1__CAUSE_KIND__CAUSE_KIND_CODE,
    [CAUSE_DEPENDENCY] = INTERLOCK__GRAPH__V1__CAUSE_KIND__CAUSE_KIND_DEPENDENCY,
    [CAUSE_SATURATION] = INTERLOCK__GRAPH__V1__CAUSE_KIND__CAUSE_KIND_SATURATION,
};

/* In the order of clue_kind, which the message's numbers follow. */
static clue_kind_message clue_kind_of(clue_kind kind) {
    return (clue_kind_message)(kind + 1);
}

static void **pointers_new(arena *memory, size_t count) {
    return arena_zero(memory, count + 1, sizeof(void *));
}

static bool texts_fill(char ***out, size_t *out_count, const char *const *texts, size_t count,
                       arena *memory) {
    char **made = (char **)pointers_new(memory, count);
    if (made == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        made[i] = arena_text(memory, texts[i]);
        if (made[i] == NULL)
            return false;
    }
    *out = made;
    *out_count = count;
    return true;
}

static clue_message *clue_fill(const root_cause_clue *from, arena *memory) {
    clue_message *made = arena_alloc(memory, sizeof *made);
    if (made == NULL)
        return NULL;
    interlock__graph__v1__cause_evidence__init(made);
    made->kind = clue_kind_of(from->kind);
    made->strength = from->strength;
    made->text = arena_text(memory, from->text);
    made->at_ms = from->at_ms;
    return made->text == NULL ? NULL : made;
}

static hop_message *hop_message_fill(const evidence *names, const root_cause_hop *from, arena *memory) {
    hop_message *made = arena_alloc(memory, sizeof *made);
    if (made == NULL)
        return NULL;
    interlock__graph__v1__cause_hop__init(made);
    made->node = arena_text(memory, names->services[from->service]);
    made->at_ms = from->at_ms;
    made->evidence = (clue_message **)pointers_new(memory, from->clue_count);
    if (made->node == NULL || made->evidence == NULL)
        return NULL;
    for (size_t i = 0; i < from->clue_count; i++) {
        made->evidence[i] = clue_fill(&from->clues[i], memory);
        if (made->evidence[i] == NULL)
            return NULL;
        made->n_evidence++;
    }
    return made;
}

static hypothesis_message *hypothesis_message_fill(const evidence *names, const root_cause_hypothesis *from,
                                                   arena *memory) {
    hypothesis_message *made = arena_alloc(memory, sizeof *made);
    if (made == NULL)
        return NULL;
    interlock__graph__v1__hypothesis__init(made);
    made->node = arena_text(memory, names->services[from->service]);
    made->kind = cause_kinds[from->kind];
    made->score = from->score;
    made->probability = from->probability;
    if (from->change != EVIDENCE_NONE)
        made->change = arena_text(memory, names->changes[from->change].name);
    made->chain = (hop_message **)pointers_new(memory, from->hop_count);
    if (made->node == NULL || made->change == NULL || made->chain == NULL ||
        !texts_fill(&made->against, &made->n_against, from->against, from->against_count, memory))
        return NULL;
    for (size_t i = 0; i < from->hop_count; i++) {
        made->chain[i] = hop_message_fill(names, &from->hops[i], memory);
        if (made->chain[i] == NULL)
            return NULL;
        made->n_chain++;
    }
    return made;
}

static bool symptom_fill(const evidence *names, const root_cause_question *question, arena *memory,
                         root_cause_response *out) {
    Interlock__Graph__V1__Symptom *made = arena_alloc(memory, sizeof *made);
    if (made == NULL)
        return false;
    interlock__graph__v1__symptom__init(made);
    if (question->symptom != EVIDENCE_NONE)
        made->node = arena_text(memory, names->services[question->symptom]);
    made->kind = (Interlock__Graph__V1__SymptomKind)question->kind;
    made->from_ms = question->from_ms;
    made->to_ms = question->to_ms;
    made->normal_from_ms = question->normal_from_ms;
    out->symptom = made;
    return made->node != NULL;
}

bool root_cause_reply(const evidence *names, const root_cause_question *question,
                      const root_cause_answer *answer, arena *memory, root_cause_response *out) {
    out->hypotheses = (hypothesis_message **)pointers_new(memory, answer->count);
    if (out->hypotheses == NULL || !symptom_fill(names, question, memory, out) ||
        !texts_fill(&out->missing, &out->n_missing, answer->missing, answer->missing_count, memory))
        return false;
    for (size_t i = 0; i < answer->count; i++) {
        out->hypotheses[i] = hypothesis_message_fill(names, &answer->hypotheses[i], memory);
        if (out->hypotheses[i] == NULL)
            return false;
        out->n_hypotheses++;
    }
    out->abstained = answer->abstained;
    out->onset_ms = answer->onset_ms;
    out->window_requests = answer->window_traces;
    out->normal_requests = answer->normal_traces;
    return true;
}
