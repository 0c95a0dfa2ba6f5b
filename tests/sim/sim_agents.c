/* Agents propose actions and ask again, unchanged and of any replica, until they know; some take an id that
 * is in use. The executor reports what became of what was permitted. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/dsse.h"
#include "interlock/memory/v1/memory.pb-c.h"
#include "wire/scan.h"

#define PROPOSE_PERCENT 30U
#define REUSE_PERCENT 15U
#define OUTCOME_PERCENT 40U

static const char *const VERBS[] = {"deploy", "deploy", "scale", "scale", "exec"};
static const char *const TARGETS[] = {"service:prod/shop/cart", "service:prod/shop/web",
                                      "service:prod/shop/new"};

static char *text(sim *self, const char *value) {
    return arena_text(&self->kept, value);
}

static void sign_attempt(sim *self, attempt *one) {
    Interlock__Policy__V1__Action action = INTERLOCK__POLICY__V1__ACTION__INIT;
    char *targets[] = {text(self, TARGETS[sim_draw(self, 3)])};
    bytes packed = {0};
    failure why = {0};
    int64_t lifetime_ms = sim_chance(self, 15) ? 2000 : 600000;
    action.header = statement_header_new(PAYLOAD_ACTION, SIM_INSTALLATION,
                                         arena_format(&self->kept, "agent/a%u", one->agent), lifetime_ms,
                                         &self->time.chance, &self->kept);
    action.action_id = one->id;
    action.actor_kind = INTERLOCK__POLICY__V1__ACTOR_KIND__ACTOR_KIND_AGENT;
    action.verb = text(self, VERBS[sim_draw(self, 5)]);
    action.targets = targets;
    action.n_targets = 1;
    Interlock__Common__V1__Envelope *envelope =
        dsse_sign_message(self->agent_keys[one->agent], PAYLOAD_ACTION, &action.base, &self->kept);
    if (envelope == NULL || wire_pack(&envelope->base, &self->kept, &packed, &why) != STATUS_OK)
        sim_fail(self, "cannot sign an action: %s", why.message);
    dsse_payload_digest(envelope, one->digest);
    one->envelope = packed.data;
    one->size = packed.size;
}

static void propose(sim *self) {
    if (self->attempt_count == SIM_ATTEMPTS)
        return;
    size_t number = self->attempt_count;
    attempt *one = &self->attempts[number];
    *one = (attempt){.agent = (unsigned)sim_draw(self, SIM_AGENTS), .repeats_left = 3};
    if (number > 0 && sim_chance(self, REUSE_PERCENT))
        memcpy(one->id, self->attempts[sim_draw(self, number)].id, sizeof one->id);
    else
        (void)snprintf(one->id, sizeof one->id, "action-%zu", number);
    sign_attempt(self, one);
    self->attempt_count++;
}

static void send_attempt(sim *self, attempt *one) {
    one->call = ((uint64_t)(one - self->attempts) << 32) | ++self->next_number;
    sim_message what = {.kind = MESSAGE_EVALUATE,
                        .peer = (unsigned)sim_draw(self, SIM_REPLICAS),
                        .number = one->call,
                        .body = (uint8_t *)(uintptr_t)one->envelope,
                        .size = one->size};
    network_send(self, &what);
    /* Impatient: sometimes another replica is asked while the first still works. */
    one->send_ns = sim_now(self) + (self->healed ? 1000 : 100 + sim_draw(self, 3000)) * SIM_MS;
}

void agents_turn(sim *self) {
    if (!self->healed && sim_chance(self, PROPOSE_PERCENT))
        propose(self);
    for (size_t i = 0; i < self->attempt_count; i++) {
        attempt *one = &self->attempts[i];
        if (sim_now(self) < one->send_ns || (one->final && one->repeats_left == 0))
            continue;
        if (one->final)
            one->repeats_left--;
        send_attempt(self, one);
    }
}

static void report_outcome(sim *self, const attempt *one, const Interlock__Policy__V1__EvaluateResponse *told,
                           arena *memory) {
    Interlock__Memory__V1__ActionOutcome outcome = INTERLOCK__MEMORY__V1__ACTION_OUTCOME__INIT;
    Interlock__Audit__V1__AppendRequest request = INTERLOCK__AUDIT__V1__APPEND_REQUEST__INIT;
    outcome.action_id = told->decision->action_id;
    outcome.state = INTERLOCK__MEMORY__V1__OUTCOME_STATE__OUTCOME_STATE_HEALTHY;
    outcome.header = statement_header_new(PAYLOAD_OUTCOME, SIM_INSTALLATION, "executor/local", 0,
                                          &self->time.chance, memory);
    request.action_id = told->decision->action_id;
    /* Sometimes it is mistaken about what came before. */
    request.expect = told->receipt->index + (sim_chance(self, 10) ? 1 : 0);
    request.kind = INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_OUTCOME;
    request.verdict = text(self, "HEALTHY");
    request.record = dsse_sign_message(self->executor_key, PAYLOAD_OUTCOME, &outcome.base, memory);
    sim_message what = message_with(MESSAGE_APPEND, SIM_FROM_EXECUTOR, &request.base, memory);
    what.number = one->call;
    network_send(self, &what);
}

static void take_decision(sim *self, attempt *one, const sim_message *what) {
    ProtobufCMessage *body = NULL;
    failure why = {0};
    arena memory;
    arena_init(&memory, 16384, 1U << 20);
    if (wire_unpack(&interlock__policy__v1__evaluate_response__descriptor, bytes_of(what->body, what->size),
                    &memory, &body, &why) != STATUS_OK)
        sim_fail(self, "an answer cannot be read: %s", why.message);
    const Interlock__Policy__V1__EvaluateResponse *told =
        (const Interlock__Policy__V1__EvaluateResponse *)body;
    one->answered = true;
    one->final = one->final || outcome_is_final(told->decision->outcome);
    if (told->permit[0] != '\0' && sim_chance(self, OUTCOME_PERCENT))
        report_outcome(self, one, told, &memory);
    arena_free(&memory);
}

void agents_take(sim *self, const sim_message *what) {
    attempt *one = &self->attempts[what->number >> 32];
    if (what->code == STATUS_OK) {
        take_decision(self, one, what);
        return;
    }
    if (what->code == STATUS_UNAVAILABLE)
        return; /* asked again in time */
    if (what->code != STATUS_ALREADY_EXISTS && what->code != STATUS_INVALID_ARGUMENT)
        sim_fail(self, "%s is refused with %s", one->id, status_name(what->code));
    one->answered = true;
    one->final = true; /* the id is taken, or the action expired undecided */
    one->repeats_left = 0;
}
