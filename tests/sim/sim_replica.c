/* A replica of policy. What it thinks is the real code; the steps in between follow
 * services/policy/evaluation_record.c and evaluation_facts.c, with messages where those have gRPC. One rule
 * is added that policy does not use yet: a permit is charged to a counter of its agent. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/dsse.h"
#include "wire/scan.h"

#define ROUNDS_MAX 8U
#define FENCE_WAITS_MAX 5U
#define FENCE_WAIT_NS (100 * SIM_MS)
#define RESEND_NS (400 * SIM_MS)
#define DEADLINE_NS (5000 * SIM_MS)
#define POLL_NS (500 * SIM_MS)
#define CUT_OFF_PERCENT 4U
#define CALL_BYTES (1U << 20)
#define POLICY_PRINCIPAL "service/policy"

static evaluation *find_waiting(replica *self, uint64_t number) {
    for (size_t i = 0; i < SIM_EVALUATIONS; i++)
        if (self->evaluations[i].used && self->evaluations[i].number == number && number != 0)
            return &self->evaluations[i];
    return NULL;
}

static void let_go(evaluation *self) {
    view_unref(self->box);
    arena_free(&self->memory);
    *self = (evaluation){0};
}

static unsigned number_of(const sim *world, const replica *self) {
    return (unsigned)(self - world->replicas);
}

/* ---- The end of a call ---- */

static void finish(sim *world, replica *self, evaluation *eval, status_code code, bool reused) {
    sim_message back = {.kind = MESSAGE_EVALUATED,
                        .peer = number_of(world, self),
                        .number = eval->call,
                        .code = code,
                        .reused = reused};
    network_send(world, &back);
    let_go(eval);
}

static void answer_with(sim *world, replica *self, evaluation *eval, char *permit) {
    Interlock__Policy__V1__EvaluateResponse response = INTERLOCK__POLICY__V1__EVALUATE_RESPONSE__INIT;
    response.decision = (Interlock__Policy__V1__Decision *)(uintptr_t)eval->decision;
    response.receipt = (Interlock__Audit__V1__Receipt *)(uintptr_t)eval->receipt;
    response.repeated = eval->repeated;
    if (permit != NULL)
        response.permit = permit;
    check_answer(world, eval, &response);
    sim_message back = message_with(MESSAGE_EVALUATED, number_of(world, self), &response.base, &eval->memory);
    back.number = eval->call;
    network_send(world, &back);
    let_go(eval);
}

static const Interlock__Control__V1__Kill *kill_of(const evaluation *eval, const view_box *box) {
    const Interlock__Policy__V1__Action *action = eval->proposed.action;
    return control_find_kill(&box->view, action->header->principal, "", action->verb, action->targets,
                             action->n_targets);
}

static bool is_fresh(const replica *self) {
    return freshness_holds(self->proof_ns, chance_boot_ns(&self->time.chance));
}

static bool may_permit(const replica *self, const evaluation *eval) {
    const control_enrolment *enrolment = control_find_key(&self->box->view, eval->proposed.enrolment->keyid);
    return is_fresh(self) && kill_of(eval, self->box) == NULL && enrolment != NULL &&
           !enrolment->statement->revoked;
}

static void answer_evaluation(sim *world, replica *self, evaluation *eval) {
    char *permit = NULL;
    failure why = {0};
    if (eval->decision->permit == NULL) {
        answer_with(world, self, eval, NULL);
        return;
    }
    if (!may_permit(self, eval)) {
        finish(world, self, eval, STATUS_UNAVAILABLE, false);
        return;
    }
    if (signer_sign(&world->signs, eval->receipt, eval->record, &eval->memory, &permit, &why) != STATUS_OK)
        sim_fail(world, "the signer refuses: %s", why.message);
    world->permits++;
    answer_with(world, self, eval, permit);
}

/* ---- Asking the log ---- */

static void ask(sim *world, replica *self, evaluation *eval, sim_message what) {
    eval->number = ++world->next_number;
    what.number = eval->number;
    what.incarnation = self->incarnation;
    eval->waiting = what;
    eval->send_ns = sim_now(world) + RESEND_NS;
    network_send(world, &what);
}

static void charge_permit(Interlock__Audit__V1__AppendRequest *request, const evaluation *eval,
                          arena *memory) {
    Interlock__Audit__V1__Counter *counter = arena_alloc(memory, sizeof *counter);
    Interlock__Audit__V1__Counter **list = arena_alloc(memory, sizeof(void *));
    if (counter == NULL || list == NULL)
        abort();
    interlock__audit__v1__counter__init(counter);
    counter->key = arena_format(memory, "rate/%s", eval->decision->principal);
    counter->cap = SIM_RATE_CAP;
    counter->window_ms = SIM_RATE_WINDOW_MS;
    counter->cost = 1;
    list[0] = counter;
    request->counters = list;
    request->n_counters = 1;
}

static void append_record(sim *world, replica *self, evaluation *eval) {
    Interlock__Audit__V1__AppendRequest request = INTERLOCK__AUDIT__V1__APPEND_REQUEST__INIT;
    if (eval->rounds++ >= ROUNDS_MAX) {
        finish(world, self, eval, STATUS_UNAVAILABLE, false);
        return;
    }
    request.action_id = eval->decision->action_id;
    request.expect = eval->expect;
    request.control_seq = eval->decision->control_seq;
    request.kind = INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION;
    request.verdict = (char *)(uintptr_t)outcome_name(eval->decision->outcome);
    request.permits = eval->decision->permit != NULL;
    request.record = (Interlock__Common__V1__Envelope *)(uintptr_t)eval->record;
    if (request.permits)
        charge_permit(&request, eval, &eval->memory);
    ask(world, self, eval,
        message_with(MESSAGE_APPEND, number_of(world, self), &request.base, &eval->memory));
}

static void look_up(sim *world, replica *self, evaluation *eval) {
    const char *action_id = eval->proposed.action->action_id;
    ask(world, self, eval,
        (sim_message){.kind = MESSAGE_FETCH,
                      .peer = number_of(world, self),
                      .body = arena_copy(&eval->memory, action_id, strlen(action_id)),
                      .size = strlen(action_id)});
}

/* ---- Deciding ---- */

static void decide_and_append(sim *world, replica *self, evaluation *eval) {
    failure why = {0};
    Interlock__Policy__V1__Decision *decision = NULL;
    Interlock__Policy__V1__DecisionRecord record = INTERLOCK__POLICY__V1__DECISION_RECORD__INIT;
    if (decide(&eval->facts, &eval->memory, &decision, &why) != STATUS_OK)
        sim_fail(world, "no decision: %s", why.message);
    eval->decision = decision;
    record.header = statement_header_new(PAYLOAD_DECISION, SIM_INSTALLATION, POLICY_PRINCIPAL, 0,
                                         &self->time.chance, &eval->memory);
    record.decision = decision;
    record.action = (Interlock__Common__V1__Envelope *)(uintptr_t)eval->envelope;
    eval->record = record.header == NULL
                       ? NULL
                       : dsse_sign_message(world->record_key, PAYLOAD_DECISION, &record.base, &eval->memory);
    if (eval->record == NULL)
        finish(world, self, eval, STATUS_RESOURCE_EXHAUSTED, false);
    else
        append_record(world, self, eval);
}

/* Small, large, or unheard of. */
static const Interlock__Graph__V1__Impact *draw_impact(sim *world, arena *memory) {
    Interlock__Graph__V1__Impact *impact = arena_alloc(memory, sizeof *impact);
    Interlock__Graph__V1__Share *share = arena_alloc(memory, sizeof *share);
    if (impact == NULL || share == NULL || sim_chance(world, 5))
        return NULL;
    interlock__graph__v1__impact__init(impact);
    interlock__graph__v1__share__init(share);
    share->expected = 0.01;
    share->high = sim_chance(world, 10) ? 0.9 : 0.02;
    impact->entry_traffic = share;
    return impact;
}

static void gather(sim *world, replica *self, evaluation *eval) {
    const control_view *view = &eval->box->view;
    eval->facts = (decision_facts){
        .installation = SIM_INSTALLATION,
        .action = eval->proposed.action,
        .digest = eval->proposed.digest,
        .enrolment = eval->proposed.enrolment,
        .now_ms = chance_wall_ms(&self->time.chance),
        .permit_id = eval->permit_id,
        .control_fresh = is_fresh(self),
        .control_reason = "",
        .control_seq = view->seq,
        .epoch = 1,
        .behind_fence = eval->fenced_seq != 0 && view->seq <= eval->fenced_seq,
        .kill = kill_of(eval, eval->box),
        .document = world->document,
        .impact = draw_impact(world, &eval->memory),
        .impact_reason = "",
        .executor_principal = "executor/local",
        .executor = control_find_principal(view, "executor/local"),
    };
    decide_and_append(world, self, eval);
}

/* Takes the newest view and opens the action against it. */
static status_code open_evaluation(replica *self, evaluation *eval, failure *why) {
    static const rpc_peer peer = {.role = ROLE_AGENT, .principal = "unix:uid=1000", .uid = 1000};
    view_unref(eval->box);
    eval->box = self->box;
    atomic_fetch_add(&self->box->references, 1);
    action_gate gate = {.view = &self->box->view,
                        .installation = SIM_INSTALLATION,
                        .peer = &peer,
                        .source = &self->time.chance};
    return action_open(&gate, eval->envelope, &eval->memory, &eval->proposed, why);
}

/* ---- What the log says ---- */

static const Interlock__Policy__V1__Decision *decision_of(const Interlock__Common__V1__Envelope *record,
                                                          arena *memory) {
    ProtobufCMessage *message = NULL;
    if (strcmp(record->payload_type, PAYLOAD_DECISION) != 0 ||
        wire_unpack(&interlock__policy__v1__decision_record__descriptor,
                    bytes_of(record->payload.data, record->payload.len), memory, &message, NULL) != STATUS_OK)
        return NULL;
    return ((const Interlock__Policy__V1__DecisionRecord *)message)->decision;
}

static void adopt(sim *world, replica *self, evaluation *eval, const Interlock__Audit__V1__Entry *entry,
                  const Interlock__Audit__V1__Receipt *receipt) {
    const Interlock__Policy__V1__Decision *decision = decision_of(entry->record, &eval->memory);
    if (decision == NULL)
        sim_fail(world, "the log's decision at %llu cannot be read", (unsigned long long)entry->index);
    if (memcmp(decision->action_digest.data, eval->proposed.digest, CRYPTO_HASH_BYTES) != 0) {
        finish(world, self, eval, STATUS_ALREADY_EXISTS, true);
        return;
    }
    if (!outcome_is_final(decision->outcome) && !eval->proposed.expired) {
        eval->expect = entry->index;
        append_record(world, self, eval);
        return;
    }
    eval->decision = decision;
    eval->record = entry->record;
    eval->receipt = receipt;
    eval->repeated = true;
    answer_evaluation(world, self, eval);
}

static void on_conflict(sim *world, replica *self, evaluation *eval,
                        const Interlock__Audit__V1__Conflict *conflict) {
    ProtobufCMessage *message = NULL;
    failure why = {0};
    if (wire_unpack(&interlock__audit__v1__leaf__descriptor,
                    bytes_of(conflict->latest->leaf.data, conflict->latest->leaf.len), &eval->memory,
                    &message, &why) != STATUS_OK)
        sim_fail(world, "the leaf of a conflict cannot be read: %s", why.message);
    const Interlock__Audit__V1__Leaf *leaf = (const Interlock__Audit__V1__Leaf *)message;
    if (leaf->kind == INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION)
        adopt(world, self, eval, conflict->latest, conflict->receipt);
    else if (leaf->previous_index == 0)
        finish(world, self, eval, STATUS_ALREADY_EXISTS, true);
    else
        look_up(world, self, eval);
}

static void on_fetched(sim *world, replica *self, evaluation *eval,
                       const Interlock__Audit__V1__Conflict *found) {
    if (found->latest != NULL)
        adopt(world, self, eval, found->latest, found->receipt);
    else /* expired, and never decided */
        finish(world, self, eval, STATUS_INVALID_ARGUMENT, false);
}

static void after_fence(sim *world, replica *self, evaluation *eval) {
    failure why = {0};
    eval->wait_ns = 0;
    status_code code = open_evaluation(self, eval, &why);
    if (code != STATUS_OK) {
        finish(world, self, eval, code, false);
    } else if (eval->box->view.seq <= eval->fenced_seq && eval->rounds <= FENCE_WAITS_MAX) {
        eval->wait_ns = sim_now(world) + FENCE_WAIT_NS;
        eval->rounds++;
    } else {
        gather(world, self, eval);
    }
}

static void on_refusal(sim *world, replica *self, evaluation *eval,
                       const Interlock__Audit__V1__Refusal *refusal) {
    switch (refusal->reason) {
    case INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_FENCED:
        eval->fenced_seq = eval->box->view.seq;
        eval->wait_ns = sim_now(world) + FENCE_WAIT_NS;
        break;
    case INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_COUNTER_EXHAUSTED:
        eval->facts.counter_key = arena_text(&eval->memory, refusal->counter_key);
        eval->facts.counter_retry_ms = refusal->retry_after_ms > 0 ? refusal->retry_after_ms : 1000;
        decide_and_append(world, self, eval);
        break;
    default:
        sim_fail(world, "the log refuses a decision's record: %s", refusal->message);
    }
}

static void on_answer(sim *world, replica *self, evaluation *eval, const sim_message *what) {
    const ProtobufCMessageDescriptor *type = what->kind == MESSAGE_FETCHED
                                                 ? &interlock__audit__v1__conflict__descriptor
                                                 : &interlock__audit__v1__append_response__descriptor;
    ProtobufCMessage *body = NULL;
    failure why = {0};
    if (wire_unpack(type, bytes_of(what->body, what->size), &eval->memory, &body, &why) != STATUS_OK)
        sim_fail(world, "audit's answer cannot be read: %s", why.message);
    eval->number = 0;
    const Interlock__Audit__V1__AppendResponse *told = (const Interlock__Audit__V1__AppendResponse *)body;
    if (what->kind == MESSAGE_FETCHED) {
        on_fetched(world, self, eval, (const Interlock__Audit__V1__Conflict *)body);
    } else if (told->result_case == INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_RECEIPT) {
        eval->receipt = told->receipt;
        answer_evaluation(world, self, eval);
    } else if (told->result_case == INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_CONFLICT) {
        on_conflict(world, self, eval, told->conflict);
    } else {
        on_refusal(world, self, eval, told->refusal);
    }
}

/* ---- Control data ---- */

/* An answer that was overtaken shows less than was seen, and proves nothing. */
static void on_control(sim *world, replica *self, const sim_message *what) {
    const control_snapshot *shown = &world->snapshots[what->body[0]];
    view_box *box = NULL;
    failure why = {0};
    if (view_build(&world->roots, &self->time.chance, &self->known, shown->kvs, shown->count, &box, &why) !=
        STATUS_OK)
        return;
    view_unref(self->box);
    self->box = box;
    self->proof_ns = what->number > self->proof_ns ? what->number : self->proof_ns;
}

/* A linearizable read: sent now, answered from what stands there at some moment before it comes back. */
static void read_control(sim *world, replica *self) {
    uint8_t shown = (uint8_t)(world->snapshot_count - 1);
    sim_message what = {.kind = MESSAGE_CONTROL,
                        .peer = number_of(world, self),
                        .incarnation = self->incarnation,
                        .number = chance_boot_ns(&self->time.chance),
                        .body = &shown,
                        .size = 1};
    if (world->healed || sim_now(world) >= self->cut_off_ns)
        network_send(world, &what);
    if (!world->healed && sim_chance(world, CUT_OFF_PERCENT))
        self->cut_off_ns = sim_now(world) + sim_draw(world, 12000) * SIM_MS;
    self->read_ns = sim_now(world) + POLL_NS;
}

/* ---- Calls ---- */

static void begin_evaluation(sim *world, replica *self, const sim_message *what) {
    ProtobufCMessage *envelope = NULL;
    failure why = {0};
    evaluation *eval = self->evaluations;
    while (eval < self->evaluations + SIM_EVALUATIONS && eval->used)
        eval++;
    if (self->box == NULL || eval == self->evaluations + SIM_EVALUATIONS)
        return;
    *eval = (evaluation){.used = true, .call = what->number, .deadline_ns = sim_now(world) + DEADLINE_NS};
    arena_init(&eval->memory, 16384, CALL_BYTES);
    chance_random(&self->time.chance, eval->permit_id, sizeof eval->permit_id);
    if (wire_unpack(&interlock__common__v1__envelope__descriptor, bytes_of(what->body, what->size),
                    &eval->memory, &envelope, &why) != STATUS_OK)
        sim_fail(world, "an envelope cannot be read: %s", why.message);
    eval->envelope = (const Interlock__Common__V1__Envelope *)envelope;
    status_code code = open_evaluation(self, eval, &why);
    if (code != STATUS_OK)
        finish(world, self, eval, code, false);
    else if (eval->proposed.expired)
        look_up(world, self, eval);
    else
        gather(world, self, eval);
}

void replica_take(sim *world, const sim_message *what) {
    replica *self = &world->replicas[what->peer];
    if (!self->up)
        return;
    if (what->kind == MESSAGE_EVALUATE) {
        begin_evaluation(world, self, what);
        return;
    }
    if (what->incarnation != self->incarnation)
        return; /* for the one that crashed */
    if (what->kind == MESSAGE_CONTROL) {
        on_control(world, self, what);
        return;
    }
    evaluation *eval = find_waiting(self, what->number);
    if (eval != NULL)
        on_answer(world, self, eval, what);
}

static void tend(sim *world, replica *self, evaluation *eval) {
    if (sim_now(world) >= eval->deadline_ns) {
        finish(world, self, eval, STATUS_UNAVAILABLE, false); /* the result is not known */
    } else if (eval->wait_ns != 0) {
        if (sim_now(world) >= eval->wait_ns)
            after_fence(world, self, eval);
    } else if (sim_now(world) >= eval->send_ns) {
        network_send(world, &eval->waiting); /* unchanged */
        eval->send_ns = sim_now(world) + RESEND_NS;
    }
}

void replica_turn(sim *world, unsigned number) {
    replica *self = &world->replicas[number];
    if (!self->up && (world->healed || sim_now(world) >= self->up_again_ns))
        replica_start(world, number);
    if (!self->up)
        return;
    if (sim_now(world) >= self->read_ns)
        read_control(world, self);
    for (size_t i = 0; i < SIM_EVALUATIONS; i++)
        if (self->evaluations[i].used)
            tend(world, self, &self->evaluations[i]);
}

void replica_start(sim *world, unsigned number) {
    replica *self = &world->replicas[number];
    self->up = true;
    self->incarnation++;
    self->read_ns = 0;
}

void replica_crash(sim *world, unsigned number) {
    replica *self = &world->replicas[number];
    for (size_t i = 0; i < SIM_EVALUATIONS; i++)
        if (self->evaluations[i].used)
            let_go(&self->evaluations[i]);
    view_unref(self->box);
    seen_free(&self->known);
    self->box = NULL;
    self->known = (seen){0};
    self->proof_ns = 0;
    self->up = false;
    self->up_again_ns = sim_now(world) + sim_draw(world, 1500) * SIM_MS;
    world->crashes++;
}
