/* What this replica has applied of the control data, and how far the log shows it. */
#include "crypto/dsse.h"
#include "message.h"
#include "policy.h"
#include "wire/scan.h"

typedef Interlock__Control__V1__GetControlResponse report;

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "REPLY_TOO_LARGE",
                "the control data is too large for one reply");
}

/* The statement is canonical, so that packing it again gives the bytes that were signed. */
static status_code in_the_log(policy_service *self, const ProtobufCMessage *statement, arena *memory,
                              bool *found, failure *why) {
    bytes packed;
    uint8_t digest[CRYPTO_HASH_BYTES];
    status_code code = wire_pack(statement, memory, &packed, why);
    if (code != STATUS_OK)
        return code;
    sha256(packed, digest);
    return policy_store_find_statement(self->lookup_reader, digest, found, why);
}

static status_code report_kills(policy_service *self, const control_view *view, arena *memory, report *out,
                                failure *why) {
    out->kills = arena_zero(memory, view->kill_count + 1, sizeof(void *));
    if (out->kills == NULL)
        return no_memory(why);
    out->fenced = true;
    for (size_t i = 0; i < view->kill_count; i++) {
        bool found = false;
        status_code code = in_the_log(self, &view->kills[i]->base, memory, &found, why);
        if (code != STATUS_OK)
            return code;
        out->fenced = out->fenced && found;
        out->kills[i] = (Interlock__Control__V1__Kill *)message_copy(&view->kills[i]->base, memory);
        if (out->kills[i] == NULL)
            return no_memory(why);
        out->n_kills++;
    }
    return STATUS_OK;
}

static status_code report_enrolments(const control_view *view, arena *memory, report *out, failure *why) {
    out->enrolments = arena_zero(memory, view->enrolment_count + 1, sizeof(void *));
    if (out->enrolments == NULL)
        return no_memory(why);
    for (size_t i = 0; i < view->enrolment_count; i++) {
        out->enrolments[i] =
            (Interlock__Control__V1__Enrolment *)message_copy(&view->enrolments[i].statement->base, memory);
        if (out->enrolments[i] == NULL)
            return no_memory(why);
        out->n_enrolments++;
    }
    return STATUS_OK;
}

static status_code report_policy(const control_view *view, arena *memory, report *out, failure *why) {
    if (view->shadow != NULL) {
        out->shadow_version = view->shadow->version;
        out->shadow_name = arena_text(memory, view->shadow->document.len == 0 ? "" : view->shadow->name);
        if (out->shadow_name == NULL)
            return no_memory(why);
    }
    if (view->policy == NULL)
        return STATUS_OK;
    out->policy_name = arena_text(memory, view->policy->name);
    out->policy_version = view->policy->version;
    out->policy_digest = arena_text(memory, view->policy_digest);
    return out->policy_name == NULL || out->policy_digest == NULL ? no_memory(why) : STATUS_OK;
}

static status_code report_view(policy_service *self, const control_view *view, arena *memory, report *out,
                               failure *why) {
    out->control_seq = view->seq;
    out->epoch = view->epoch;
    status_code code = report_kills(self, view, memory, out, why);
    if (code == STATUS_OK)
        code = report_enrolments(view, memory, out, why);
    return code == STATUS_OK ? report_policy(view, memory, out, why) : code;
}

status_code policy_report_control(policy_service *self, arena *memory, report *out, failure *why) {
    char reason[256];
    control_reason(self->live, reason);
    out->fresh = reason[0] == '\0';
    out->not_fresh_reason = arena_text(memory, reason);
    if (out->not_fresh_reason == NULL)
        return no_memory(why);
    out->fence_index = atomic_load(&self->log.fence_index);
    const control_view *view = control_acquire(self->live);
    status_code code = report_view(self, view, memory, out, why);
    control_release(self->live, view);
    if (code != STATUS_OK)
        return code;
    return control_replicas(self->live, memory, &out->replicas, &out->n_replicas, why);
}
