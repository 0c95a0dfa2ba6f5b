/* The network: every message may be lost, come twice, come late, and overtake another. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define LATE_PERCENT 8U
#define LATE_CONTROL_PERCENT 30U /* so that a proof is often old when it comes */

sim_message message_with(message_kind kind, unsigned peer, const ProtobufCMessage *body, arena *memory) {
    sim_message made = {.kind = kind, .peer = peer};
    if (body != NULL) {
        made.size = protobuf_c_message_get_packed_size(body);
        made.body = arena_alloc(memory, made.size + 1);
        if (made.body == NULL)
            abort();
        protobuf_c_message_pack(body, made.body);
    }
    return made;
}

static uint64_t delay_ns(sim *self, message_kind kind) {
    if (self->healed)
        return (1 + sim_draw(self, 3)) * SIM_MS;
    if (sim_chance(self, kind == MESSAGE_CONTROL ? LATE_CONTROL_PERCENT : LATE_PERCENT))
        return sim_draw(self, 4000) * SIM_MS;
    return (1 + sim_draw(self, 120)) * SIM_MS;
}

static void put(sim *self, const sim_message *what) {
    if (self->network_count == SIM_MESSAGES)
        return; /* a queue that is full loses, too */
    sim_message *copy = &self->network[self->network_count++];
    *copy = *what;
    copy->body = malloc(what->size + 1);
    if (copy->body == NULL)
        abort();
    if (what->size > 0)
        memcpy(copy->body, what->body, what->size);
    copy->due_ns = sim_now(self) + delay_ns(self, what->kind);
}

void network_send(sim *self, const sim_message *what) {
    if (!self->healed && sim_chance(self, self->loss_percent))
        return;
    put(self, what);
    if (!self->healed && sim_chance(self, self->double_percent))
        put(self, what);
}

static void arrive(sim *self, const sim_message *what) {
    switch (what->kind) {
    case MESSAGE_EVALUATED:
        agents_take(self, what);
        break;
    case MESSAGE_APPEND:
    case MESSAGE_FETCH:
        audit_take(self, what);
        break;
    case MESSAGE_APPENDED:
        if (what->peer == SIM_FROM_OPERATOR)
            control_appended(self, what);
        else if (what->peer < SIM_REPLICAS)
            replica_take(self, what);
        break;
    default:
        replica_take(self, what);
    }
}

/* The earliest of what is due; SIM_MESSAGES when nothing is. */
static size_t next_due(const sim *self) {
    size_t found = SIM_MESSAGES;
    for (size_t i = 0; i < self->network_count; i++)
        if (self->network[i].due_ns <= sim_now(self) &&
            (found == SIM_MESSAGES || self->network[i].due_ns < self->network[found].due_ns))
            found = i;
    return found;
}

void network_deliver(sim *self) {
    for (size_t at; (at = next_due(self)) != SIM_MESSAGES;) {
        sim_message what = self->network[at];
        self->network[at] = self->network[--self->network_count];
        arrive(self, &what);
        free(what.body);
    }
}

void network_clear(sim *self) {
    while (self->network_count > 0)
        free(self->network[--self->network_count].body);
}
