/* Policy sets as they were signed: in force, shadow, or earlier ones, which the projection of the log has. */
#include <string.h>

#include "crypto/dsse.h"
#include "message.h"
#include "policy.h"
#include "wire/scan.h"

typedef Interlock__Policy__V1__GetPolicySetResponse reply;

/* The set that is looked for among the statements of the log. */
typedef struct search {
    uint64_t version; /* 0: the highest */
    bool shadow;
    arena *memory;
    reply *out;
    bool found;
} search;

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "REPLY_TOO_LARGE",
                "the policy set is too large for one reply");
}

static status_code take(search *self, const Interlock__Common__V1__Envelope *envelope,
                        const Interlock__Control__V1__PolicySet *set, failure *why) {
    uint8_t digest[CRYPTO_HASH_BYTES];
    char *hex = arena_alloc(self->memory, 2 * CRYPTO_HASH_BYTES + 1);
    Interlock__Policy__V1__PolicyReference *reference = arena_alloc(self->memory, sizeof *reference);
    ProtobufCMessage *kept = message_copy(&envelope->base, self->memory);
    ProtobufCMessage *inner = message_copy(&set->base, self->memory);
    if (hex == NULL || reference == NULL || kept == NULL || inner == NULL)
        return no_memory(why);
    const Interlock__Control__V1__PolicySet *own = (const Interlock__Control__V1__PolicySet *)inner;
    sha256(bytes_of(own->document.data, own->document.len), digest);
    hex_encode(bytes_of(digest, sizeof digest), hex);
    interlock__policy__v1__policy_reference__init(reference);
    reference->name = own->name;
    reference->version = own->version;
    reference->digest = hex;
    self->out->statement = (Interlock__Common__V1__Envelope *)kept;
    self->out->reference = reference;
    self->out->document = own->document;
    self->out->rollback_of = own->rollback_of;
    self->found = true;
    return STATUS_OK;
}

static bool is_better(const search *self, const Interlock__Control__V1__PolicySet *set) {
    if (set->shadow != self->shadow)
        return false;
    if (self->version != 0)
        return set->version == self->version;
    return !self->found || set->version > self->out->reference->version;
}

static status_code look_at(void *context, bytes packed, failure *why) {
    search *self = context;
    arena scratch;
    ProtobufCMessage *envelope = NULL, *set = NULL;
    arena_init(&scratch, 65536, 8U << 20);
    status_code code =
        wire_unpack(&interlock__common__v1__envelope__descriptor, packed, &scratch, &envelope, why);
    const Interlock__Common__V1__Envelope *statement = (const Interlock__Common__V1__Envelope *)envelope;
    bool policy = code == STATUS_OK && strcmp(statement->payload_type, PAYLOAD_POLICY_SET) == 0;
    if (policy)
        code = wire_unpack(&interlock__control__v1__policy_set__descriptor,
                           bytes_of(statement->payload.data, statement->payload.len), &scratch, &set, why);
    if (policy && code == STATUS_OK && is_better(self, (const Interlock__Control__V1__PolicySet *)set))
        code = take(self, statement, (const Interlock__Control__V1__PolicySet *)set, why);
    arena_free(&scratch);
    return code;
}

/* The one in force is what the control data say, whatever else the log holds. */
static uint64_t version_in_force(policy_service *self, bool of_shadow) {
    const control_view *view = control_acquire(self->live);
    const Interlock__Control__V1__PolicySet *set = of_shadow ? view->shadow : view->policy;
    uint64_t version = set == NULL || set->document.len == 0 ? 0 : set->version;
    control_release(self->live, view);
    return version;
}

status_code policy_get_set(policy_service *self, const Interlock__Policy__V1__GetPolicySetRequest *request,
                           arena *memory, reply *out, failure *why) {
    search wanted = {.version = request->version, .shadow = request->shadow, .memory = memory, .out = out};
    if (wanted.version == 0)
        wanted.version = version_in_force(self, request->shadow);
    if (wanted.version == 0)
        return fail(why, STATUS_NOT_FOUND, "NO_POLICY_SET", "no %s is set",
                    request->shadow ? "shadow set" : "policy set");
    status_code code = policy_store_each_statement(self->lookup_reader, look_at, &wanted, why);
    if (code != STATUS_OK || wanted.found)
        return code;
    return fail(why, STATUS_NOT_FOUND, "NO_SUCH_VERSION",
                "the log holds no version %llu of the %s; interlock policy history lists what it holds",
                (unsigned long long)wanted.version, request->shadow ? "shadow set" : "policy set");
}

status_code policy_report_shadow(policy_service *self, uint32_t limit, arena *memory,
                                 Interlock__Policy__V1__GetShadowReportResponse *out, failure *why) {
    const control_view *view = control_acquire(self->live);
    uint32_t most = limit == 0 ? 50 : limit < SHADOW_DIFFERENCES ? limit : SHADOW_DIFFERENCES;
    status_code code = shadow_report(&self->shadow, view, most, memory, out, why);
    control_release(self->live, view);
    return code;
}
