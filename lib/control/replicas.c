/* Announcing this replica, and listing those that announced themselves. */
#include <inttypes.h>
#include <string.h>

#include "state.h"

#define REPLICAS_PREFIX "replicas/policy/"

/* ---- Announcing ---- */

/* A new lease before the old one ends, to which the next announcement moves the key; the old one ends by
 * itself. */
static bool renew_lease(control *self, uint64_t now_ms) {
    if (self->lease != 0 && now_ms - self->lease_ms < CONTROL_LEASE_RENEW_MS)
        return true;
    failure why = {0};
    int64_t lease = 0;
    if (coord_lease_grant_wait(self->coordination, CONTROL_LEASE_MS, CONTROL_REQUEST_MS, &lease, &why) !=
        STATUS_OK)
        return false;
    self->lease = lease;
    self->lease_ms = now_ms;
    return true;
}

static announcement own_announcement(control *self) {
    announcement out = {0};
    memcpy(out.boot_id, self->boot_id, sizeof out.boot_id);
    pthread_mutex_lock(&self->lock);
    out.applied_seq = self->current->view.seq;
    out.proof_boot_ns = self->proof_ns;
    out.proof_wall_ms = self->proof_wall_ms;
    pthread_mutex_unlock(&self->lock);
    return out;
}

void control_announce(control *self) {
    uint64_t now_ms = chance_boot_ms(self->source);
    announcement own = own_announcement(self);
    bool due = now_ms - self->announced_ms >= CONTROL_ANNOUNCE_MS || self->announced_ms == 0 ||
               own.applied_seq != self->announced_seq;
    if (self->replica_key[0] == '\0' || !due || !renew_lease(self, now_ms))
        return;
    buffer text;
    failure why = {0};
    bool succeeded = false;
    int64_t revision = 0;
    buffer_init(&text, 256);
    announcement_write(&own, &text);
    coord_op op = {
        .kind = COORD_PUT, .key = self->replica_key, .value = buffer_bytes(&text), .lease = self->lease};
    status_code code = !buffer_ok(&text) ? STATUS_RESOURCE_EXHAUSTED
                                         : coord_txn_wait(self->coordination, NULL, 0, &op, 1,
                                                          CONTROL_REQUEST_MS, &succeeded, &revision, &why);
    if (code == STATUS_OK) {
        self->announced_ms = now_ms;
        self->announced_seq = own.applied_seq;
    } else {
        self->lease = 0; /* it may be what is wrong */
    }
    buffer_free(&text);
}

/* A replica that stops on purpose is not missing. When this fails its lease says the same later. */
void control_withdraw(control *self) {
    if (self->replica_key[0] == '\0' || self->announced_ms == 0)
        return;
    failure why = {0};
    bool succeeded = false;
    int64_t revision = 0;
    coord_op op = {.kind = COORD_DELETE, .key = self->replica_key};
    status_code ignored =
        coord_txn_wait(self->coordination, NULL, 0, &op, 1, CONTROL_POLL_MS, &succeeded, &revision, &why);
    (void)ignored;
}

/* ---- Listing ---- */

/* The sequence as it is now, and since when this process knows. */
static status_code read_current(control *self, arena *memory, announcement_view *now, failure *why) {
    coord_result result = {0};
    status_code code =
        coord_get_wait(self->coordination, "control/seq", false, CONTROL_REQUEST_MS, memory, &result, why);
    if (code != STATUS_OK)
        return code;
    now->current_seq = 0;
    if (result.count != 0 && !control_number_parse(result.kvs[0].value, &now->current_seq))
        return fail(why, STATUS_FAILED_PRECONDITION, "CONTROL_NUMBER", "control/seq is not a decimal number");
    now->boot_id = self->boot_id;
    now->boot_ns = chance_boot_ns(self->source);
    now->wall_ms = chance_wall_ms(self->source);
    pthread_mutex_lock(&self->lock);
    bool applied = self->current->view.seq == now->current_seq && self->applied_since_ns != 0;
    now->current_since_ns = applied ? self->applied_since_ns : now->boot_ns;
    if (self->floor > now->current_seq)
        now->current_seq = self->floor;
    pthread_mutex_unlock(&self->lock);
    return STATUS_OK;
}

static Interlock__Control__V1__Replica *judge(const coord_kv *kv, const announcement_view *now,
                                              arena *memory) {
    Interlock__Control__V1__Replica *out = arena_alloc(memory, sizeof *out);
    char *id = arena_text(memory, kv->key + strlen(REPLICAS_PREFIX));
    if (out == NULL || id == NULL)
        return NULL;
    interlock__control__v1__replica__init(out);
    announcement said;
    out->id = id;
    if (!announcement_parse(kv->value, &said)) {
        out->state = INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_UNKNOWN;
        return out;
    }
    out->applied_seq = said.applied_seq;
    out->state = announcement_judge(&said, now, &out->proof_age_ms);
    return out;
}

static status_code list_announced(const coord_result *result, const announcement_view *now, arena *memory,
                                  Interlock__Control__V1__Replica ***out, size_t *count, failure *why) {
    Interlock__Control__V1__Replica **list =
        arena_zero(memory, result->count + 1, sizeof(Interlock__Control__V1__Replica *));
    for (size_t i = 0; list != NULL && i < result->count; i++) {
        list[i] = judge(&result->kvs[i], now, memory);
        list = list[i] == NULL ? NULL : list;
    }
    if (list == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the list of replicas");
    *out = list;
    *count = result->count;
    return STATUS_OK;
}

/* What can be said without coordination: about oneself, and that there may be others. */
static status_code list_unseen(control *self, arena *memory, Interlock__Control__V1__Replica ***out,
                               size_t *count, failure *why) {
    Interlock__Control__V1__Replica **list = arena_zero(memory, 3, sizeof(Interlock__Control__V1__Replica *));
    Interlock__Control__V1__Replica *both = arena_alloc(memory, 2 * sizeof *both);
    size_t found = 0;
    if (list == NULL || both == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the list of replicas");
    for (size_t i = 0; i < 2; i++) {
        interlock__control__v1__replica__init(&both[i]);
        both[i].state = INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_UNKNOWN;
    }
    if (self->replica_key[0] != '\0') {
        both[0].id = self->replica_key + strlen(REPLICAS_PREFIX);
        both[0].applied_seq = own_announcement(self).applied_seq;
        both[0].proof_age_ms = control_proof_age_ms(self);
        if (!control_is_fresh(self))
            both[0].state = INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_SELF_CLOSED;
        list[found++] = &both[0];
    }
    both[1].id = (char *)(uintptr_t)CONTROL_OTHER_REPLICAS;
    list[found++] = &both[1];
    *out = list;
    *count = found;
    return STATUS_OK;
}

status_code control_replicas(control *self, arena *memory, Interlock__Control__V1__Replica ***out,
                             size_t *count, failure *why) {
    coord_result result = {0};
    announcement_view now = {0};
    /* The announcements first: one that was right then is judged by a sequence that is not older. */
    status_code code =
        coord_get_wait(self->coordination, REPLICAS_PREFIX, true, CONTROL_REQUEST_MS, memory, &result, why);
    if (code == STATUS_OK)
        code = read_current(self, memory, &now, why);
    return code == STATUS_OK ? list_announced(&result, &now, memory, out, count, why)
                             : list_unseen(self, memory, out, count, why);
}
