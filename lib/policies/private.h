/* What the files of lib/policies share. */
#ifndef POLICIES_PRIVATE_H
#define POLICIES_PRIVATE_H

#include <stdatomic.h>

#include "policies/policies.h"

/* A message template: texts and expressions in turn. */
typedef struct message_part {
    const char *text;           /* before the expression */
    const cel_program *program; /* NULL: there is none, the text ends the message */
} message_part;

struct policy_message {
    const message_part *parts;
    size_t count;
};

struct policy_window {
    uint8_t days;              /* bit 0: Sunday */
    uint16_t from, to;         /* minutes of the day; to may be below from: over midnight */
    const cel_program *minute; /* of the week, from Sunday 00:00 in the window's time zone */
};

/* ---- index.c ---- */

typedef struct rule_index rule_index;

/* Rules by verb and target. Made in the arena, of rules that are in their final order. RESOURCE_EXHAUSTED
 * without memory or with more than INDEX_POSTINGS. */
#define INDEX_POSTINGS 2000000U
status_code index_build(const policy_set *set, arena *memory, rule_index **out, failure *why) MUST_USE;

/* Sets bit r of `may` for each rule that may cover one of the targets with this verb, and of `does` for those
 * that certainly cover target 0. Both have index_words(set) words and are zero. */
void index_find(const rule_index *self, const policy_facts *facts, uint64_t *may, uint64_t *does);

static inline size_t index_words(const policy_set *set) {
    return (set->rule_count + 63) / 64;
}

/* ---- the set as it is owned ---- */

typedef struct owned_set {
    policy_set set; /* first: what is handed out */
    atomic_uint references;
    arena memory;
    cel_environment *environment;
    rule_index *index;
    const cel_program **programs; /* to be freed with it */
    size_t program_count, program_room;
} owned_set;

static inline owned_set *owned(const policy_set *set) {
    return (owned_set *)(uintptr_t)set;
}

/* ---- environment.c: facts as CEL sees them ---- */

enum {
    SLOT_ACTION,
    SLOT_AGENT,
    SLOT_TARGETS,
    SLOT_IMPACT,
    SLOT_SCHEMA,
    SLOT_ZONES,
    SLOT_GRANT,
    SLOT_HISTORY,
    SLOT_STAGE,
    SLOT_NOW,
    SLOT_COUNT,
};

/* NULL with a reason. */
cel_environment *environment_new(failure *why);
extern const char *const environment_roots[SLOT_COUNT];

typedef struct frame frame;

typedef struct target_host {
    frame *frame;
    const policy_target *target;
} target_host;

/* The facts of one evaluation, as values of CEL that point into them and into the frame. */
struct frame {
    const policy_facts *facts;
    const policy_set *set; /* NULL: no zones are declared */
    arena *memory;
    policy_stage stage;
    cel_object action, reach, reversal, change, agent, model, impact, traffic, schema, zones, grant, history;
    cel_list targets, affected;
    cel_object *target_objects; /* NULL until a rule asks for a target */
    target_host *target_hosts;
    cel_value values[SLOT_COUNT];
};

void frame_init(frame *self, const policy_set *set, const policy_facts *facts, arena *memory);

/* The zone that the set's Zone documents or the facts say; NULL: not known. */
const char *zone_of(const policy_set *set, const char *name, const char *fact);

/* ---- evaluate.c ---- */

/* How one rule stands: POLICY_NO_MATCH and POLICY_CONDITION_FALSE included. `certain`: it is known to cover
 * the only target. `sums` counts what was evaluated. */
policy_finding rule_stand(frame *self, const policy_rule *rule, bool certain, policy_result *sums);

/* ---- message.c ---- */

/* Compiles a template; false with a problem told through `why`, *column being where in the template. */
status_code message_compile(owned_set *set, const char *text, const struct policy_message **out,
                            uint32_t *column, failure *why) MUST_USE;

/* ---- load.c ---- */

/* Compiles into the set, which owns the program. */
status_code set_compile(owned_set *set, bytes text, const cel_type *type, const cel_program **out,
                        failure *why) MUST_USE;

#endif
