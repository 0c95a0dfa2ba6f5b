/* See rate_limits.h. A counter is named after its limit and what it counts apart; a name that would be too
 * long ends in a digest. */
#include "rate_limits.h"

#include <string.h>

#define KEY_BYTES 256U
#define COUNTERS_ROOM 64U

static bool covers(const policy_rate_limit *limit, const decision_facts *facts) {
    return policy_patterns_match(&limit->verbs, facts->action->verb) &&
           (limit->agents.count == 0 ||
            policy_patterns_match(&limit->agents, facts->enrolment->statement->principal));
}

static char *key_of(const policy_rate_limit *limit, const decision_facts *facts, const char *target,
                    arena *memory) {
    char *key = arena_format(memory, "rate/%s/%s/%s/%s", limit->name, limit->per_target ? target : "*",
                             limit->per_verb ? facts->action->verb : "*",
                             limit->per_agent ? facts->enrolment->statement->principal : "*");
    if (key == NULL || strlen(key) <= KEY_BYTES)
        return key;
    uint8_t digest[CRYPTO_HASH_BYTES];
    char hex[2 * CRYPTO_HASH_BYTES + 1];
    sha256(bytes_of_text(key), digest);
    hex_encode(bytes_of(digest, sizeof digest), hex);
    return arena_format(memory, "rate/%.128s/~%s", limit->name, hex);
}

typedef struct charging {
    const decision_facts *facts;
    arena *memory;
    Interlock__Audit__V1__Counter **out;
    size_t count;
} charging;

static bool charge(charging *self, const policy_rate_limit *limit, const char *target) {
    if (self->count == COUNTERS_ROOM)
        return true; /* too many to be charged as it is */
    Interlock__Audit__V1__Counter *counter = arena_alloc(self->memory, sizeof *counter);
    char *key = key_of(limit, self->facts, target, self->memory);
    if (counter == NULL || key == NULL)
        return false;
    interlock__audit__v1__counter__init(counter);
    counter->key = key;
    counter->cap = limit->most;
    counter->window_ms = limit->window_s * 1000;
    counter->cost = 1;
    self->out[self->count++] = counter;
    return true;
}

static bool charge_limit(charging *self, const policy_rate_limit *limit) {
    const Interlock__Policy__V1__Action *action = self->facts->action;
    for (size_t i = 0; i < action->n_targets; i++) {
        if (!policy_patterns_match(&limit->targets, action->targets[i]))
            continue;
        if (!charge(self, limit, action->targets[i]))
            return false;
        if (!limit->per_target)
            return true; /* one action, one charge */
    }
    return true;
}

bool limits_counters(const decision_facts *facts, arena *memory, Interlock__Audit__V1__Counter ***out,
                     size_t *count) {
    const policy_set *set = facts->document == NULL ? NULL : facts->document->set;
    charging self = {.facts = facts, .memory = memory};
    if (set != NULL && set->rate_limit_count > 0) {
        self.out = arena_zero(memory, COUNTERS_ROOM, sizeof(void *));
        if (self.out == NULL)
            return false;
    }
    for (size_t i = 0; set != NULL && i < set->rate_limit_count; i++)
        if (covers(&set->rate_limits[i], facts) && !charge_limit(&self, &set->rate_limits[i]))
            return false;
    *out = self.out;
    *count = self.count;
    return true;
}
