/* Coordination and the operator: signed statements with control/seq bumped, then their record in the log,
 * sent until there is a receipt (as services/policy/control_put.c and its sweep do). */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/dsse.h"
#include "wire/scan.h"

#define OPERATOR "operator/alice"
#define WRITE_PERCENT 3U
#define RESEND_PERCENT 10U

static const struct {
    Interlock__Control__V1__Kill__Scope scope;
    const char *subject;
} KILLS[SIM_KILLS] = {
    {INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_GLOBAL, ""},
    {INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_AGENT, "agent/a0"},
    {INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_VERB, "deploy"},
};

unsigned control_kills_of(const char *principal, const char *verb) {
    return 1U | (strcmp(principal, KILLS[1].subject) == 0 ? 2U : 0) |
           (strcmp(verb, KILLS[2].subject) == 0 ? 4U : 0);
}

static control_snapshot *newest(sim *self) {
    return &self->snapshots[self->snapshot_count - 1];
}

/* Keeps the list sorted by key. */
static void put(sim *self, control_snapshot *into, const char *key, bytes value) {
    size_t at = 0;
    while (at < into->count && strcmp(into->kvs[at].key, key) < 0)
        at++;
    if (at == into->count || strcmp(into->kvs[at].key, key) != 0) {
        memmove(&into->kvs[at + 1], &into->kvs[at], (into->count - at) * sizeof *into->kvs);
        into->count++;
    }
    into->kvs[at] = (coord_kv){.key = arena_text(&self->kept, key), .value = value, .mod_revision = 1};
}

static void put_seq(sim *self, control_snapshot *into, uint64_t seq) {
    into->seq = seq;
    into->since_ns = sim_now(self);
    char *text = arena_format(&self->kept, "%llu", (unsigned long long)seq);
    put(self, into, "control/seq", bytes_of_text(text));
}

static Interlock__Common__V1__StatementHeader *header_new(sim *self, const char *type) {
    return statement_header_new(type, SIM_INSTALLATION, OPERATOR, 0, &self->time.chance, &self->kept);
}

static const Interlock__Common__V1__Envelope *put_signed(sim *self, control_snapshot *into, const char *key,
                                                         const char *type, const ProtobufCMessage *message) {
    bytes packed = {0};
    failure why = {0};
    Interlock__Common__V1__Envelope *envelope =
        dsse_sign_message(self->operator_key, type, message, &self->kept);
    if (envelope == NULL || wire_pack(&envelope->base, &self->kept, &packed, &why) != STATUS_OK)
        sim_fail(self, "cannot sign a control statement: %s", why.message);
    put(self, into, key, packed);
    return envelope;
}

static void put_enrolment(sim *self, control_snapshot *into, const char *principal, const secret_key *key) {
    const public_key *public = secret_key_public(key);
    Interlock__Control__V1__Enrolment enrolment = INTERLOCK__CONTROL__V1__ENROLMENT__INIT;
    enrolment.header = header_new(self, PAYLOAD_ENROLMENT);
    enrolment.principal = arena_text(&self->kept, principal);
    enrolment.public_key.data = arena_copy(&self->kept, public->bytes, sizeof public->bytes);
    enrolment.public_key.len = sizeof public->bytes;
    enrolment.version = 1;
    (void)put_signed(self, into, arena_format(&self->kept, "control/enrolment/%s", public->keyid),
                     PAYLOAD_ENROLMENT, &enrolment.base);
}

void control_begin(sim *self) {
    control_snapshot *first = &self->snapshots[0];
    self->snapshot_count = 1;
    for (unsigned i = 0; i < SIM_AGENTS; i++)
        put_enrolment(self, first, arena_format(&self->kept, "agent/a%u", i), self->agent_keys[i]);
    put_enrolment(self, first, "executor/local", self->executor_key);
    put_seq(self, first, SIM_AGENTS + 1);
}

static void record(sim *self, const Interlock__Common__V1__Envelope *kill_statement, bool set) {
    static char words[2][8] = {"CLEARED", "SET"};
    Interlock__Audit__V1__AppendRequest request = INTERLOCK__AUDIT__V1__APPEND_REQUEST__INIT;
    request.control_seq = newest(self)->seq;
    request.kind = INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_KILL;
    request.verdict = words[set];
    request.record = (Interlock__Common__V1__Envelope *)(uintptr_t)kill_statement;
    sim_message *pending = &self->kills_pending[self->kills_pending_count++];
    *pending = message_with(MESSAGE_APPEND, SIM_FROM_OPERATOR, &request.base, &self->kept);
    pending->number = ++self->next_number;
    network_send(self, pending);
}

static void write_kill(sim *self, unsigned which, bool set) {
    char key[COORD_KEY_BYTES];
    if (self->snapshot_count == SIM_SNAPSHOTS ||
        !statement_kill_key(KILLS[which].scope, KILLS[which].subject, key))
        return;
    Interlock__Control__V1__Kill kill = INTERLOCK__CONTROL__V1__KILL__INIT;
    kill.header = header_new(self, PAYLOAD_KILL);
    kill.scope = KILLS[which].scope;
    kill.subject = arena_text(&self->kept, KILLS[which].subject);
    kill.reason = arena_text(&self->kept, "a simulation");
    kill.set = set;
    kill.version = ++self->kill_versions[which];
    control_snapshot *next = &self->snapshots[self->snapshot_count];
    *next = *newest(self);
    next->kill_set[which] = set;
    put_seq(self, next, newest(self)->seq + 1);
    const Interlock__Common__V1__Envelope *kill_statement =
        put_signed(self, next, key, PAYLOAD_KILL, &kill.base);
    self->snapshot_count++;
    record(self, kill_statement, set);
}

void control_clear_kills(sim *self) {
    for (unsigned i = 0; i < SIM_KILLS; i++)
        if (newest(self)->kill_set[i])
            write_kill(self, i, false);
}

void control_turn(sim *self) {
    /* What is set is cleared more readily than set, so that permits flow in between; the last places are kept
     * for clearing at the end. */
    unsigned which = (unsigned)sim_draw(self, SIM_KILLS);
    bool set = newest(self)->kill_set[which];
    if (!self->healed && self->snapshot_count + SIM_KILLS < SIM_SNAPSHOTS &&
        sim_chance(self, set ? 5 * WRITE_PERCENT : WRITE_PERCENT))
        write_kill(self, which, !set);
    for (size_t i = 0; i < self->kills_pending_count; i++)
        if (sim_chance(self, RESEND_PERCENT))
            network_send(self, &self->kills_pending[i]);
}

void control_appended(sim *self, const sim_message *what) {
    ProtobufCMessage *answer = NULL;
    failure why = {0};
    arena memory;
    arena_init(&memory, 4096, 1U << 20);
    if (wire_unpack(&interlock__audit__v1__append_response__descriptor, bytes_of(what->body, what->size),
                    &memory, &answer, &why) != STATUS_OK)
        sim_fail(self, "audit's answer cannot be read: %s", why.message);
    bool taken = ((const Interlock__Audit__V1__AppendResponse *)answer)->result_case ==
                 INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_RECEIPT;
    arena_free(&memory);
    for (size_t i = 0; taken && i < self->kills_pending_count; i++)
        if (self->kills_pending[i].number == what->number) {
            self->kills_pending[i] = self->kills_pending[--self->kills_pending_count];
            return;
        }
}
