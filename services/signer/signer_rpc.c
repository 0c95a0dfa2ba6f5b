/* SignerService over lib/rpc. Signing takes no I/O and no waiting, so it runs on the loop's own thread. */
#include "signer_rpc.h"

#include <stdio.h>
#include <string.h>

#include "interlock/signer/v1/signer.pb-c.h"
#include "signer.h"

#define PERMITS_PER_MESSAGE 64U

/* ---- SignStream ---- */

static status_code stream_open(void *service, rpc_stream *stream, const ProtobufCMessage *request,
                               failure *why) {
    (void)service, (void)stream, (void)request, (void)why;
    return STATUS_OK;
}

/* A refusal is an answer: "REASON: message". */
static char *refusal_text(const failure *why, arena *memory) {
    char *text = arena_format(memory, "%s: %s", why->reason == NULL ? "REFUSED" : why->reason, why->message);
    return text == NULL ? "NO_MEMORY: no memory for the reason" : text;
}

static void answer_one(signer *self, const Interlock__Signer__V1__SignPermit *request, arena *memory,
                       Interlock__Signer__V1__SignedPermit *out) {
    failure why = {0};
    interlock__signer__v1__signed_permit__init(out);
    out->number = request->number;
    if (signer_sign(self, request->receipt, request->record, memory, &out->permit, &why) != STATUS_OK)
        out->refusal = refusal_text(&why, memory);
}

static status_code answer_all(signer *self, const Interlock__Signer__V1__SignStreamRequest *request,
                              arena *memory, Interlock__Signer__V1__SignStreamResponse *out, failure *why) {
    Interlock__Signer__V1__SignedPermit *answers =
        arena_zero(memory, request->n_permits + 1, sizeof *answers);
    Interlock__Signer__V1__SignedPermit **list =
        arena_zero(memory, request->n_permits + 1, sizeof(Interlock__Signer__V1__SignedPermit *));
    if (answers == NULL || list == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for %zu permits",
                    request->n_permits);
    for (size_t i = 0; i < request->n_permits; i++) {
        answer_one(self, request->permits[i], memory, &answers[i]);
        list[i] = &answers[i];
    }
    out->permits = list;
    out->n_permits = request->n_permits;
    return STATUS_OK;
}

static status_code stream_message(void *service, rpc_stream *stream, const ProtobufCMessage *message,
                                  arena *memory, failure *why) {
    const Interlock__Signer__V1__SignStreamRequest *request =
        (const Interlock__Signer__V1__SignStreamRequest *)message;
    Interlock__Signer__V1__SignStreamResponse response = INTERLOCK__SIGNER__V1__SIGN_STREAM_RESPONSE__INIT;
    if (request->n_permits == 0 || request->n_permits > PERMITS_PER_MESSAGE)
        return fail_field(why, "permits", "TOO_MANY_PERMITS", "a message has 1 to %u permits",
                          PERMITS_PER_MESSAGE);
    status_code code = answer_all(service, request, memory, &response, why);
    if (code != STATUS_OK)
        return code;
    code = rpc_stream_send(stream, &response.base);
    if (code == STATUS_OK || code == STATUS_CANCELLED)
        return STATUS_OK;
    return fail(why, code, "ANSWERS_NOT_READ",
                "too many answers wait to be read; read them and open a new stream");
}

static void stream_half_closed(void *service, rpc_stream *stream) {
    (void)service;
    rpc_stream_finish(stream, STATUS_OK, NULL);
}

static void stream_closed(void *service, rpc_stream *stream) {
    (void)service, (void)stream;
}

static const rpc_stream_handlers sign_stream = {.open = stream_open,
                                                .message = stream_message,
                                                .half_closed = stream_half_closed,
                                                .closed = stream_closed};

/* ---- GetKeys ---- */

static status_code get_keys(void *service, rpc_call *call, const ProtobufCMessage *request,
                            ProtobufCMessage *response, failure *why) {
    (void)request;
    Interlock__Signer__V1__GetKeysResponse *out = (Interlock__Signer__V1__GetKeysResponse *)response;
    char *jwks = signer_key_set(service, rpc_call_arena(call));
    if (jwks == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the key set");
    out->jwks = jwks;
    return STATUS_OK;
}

const rpc_method signer_methods[] = {
    RPC_BIDI("/interlock.signer.v1.SignerService/SignStream",
             interlock__signer__v1__sign_stream_request__descriptor,
             interlock__signer__v1__sign_stream_response__descriptor, ROLE_SERVICE, &sign_stream),
    RPC_UNARY("/interlock.signer.v1.SignerService/GetKeys",
              interlock__signer__v1__get_keys_request__descriptor,
              interlock__signer__v1__get_keys_response__descriptor, ROLE_ANYONE, get_keys),
};
const size_t signer_method_count = sizeof signer_methods / sizeof *signer_methods;

/* ---- The process ---- */

const option signer_options_table[] = {
    {.name = "key",
     .kind = OPTION_TEXT,
     .value_name = "FILE",
     .help = "the permit key [DATA-DIR/keys/permit.key]"},
    {.name = "verify-records",
     .kind = OPTION_FLAG,
     .help = "also verify the signature of each record (53 µs a permit)"},
};
const size_t signer_options_count = sizeof signer_options_table / sizeof *signer_options_table;

/* The setting, or a path below the data folder. */
static status_code path_of(const daemon_context *context, const char *name, const char *fallback,
                           char out[512], failure *why) {
    const char *given = settings_text(context->settings, name);
    int size = given[0] != '\0' ? snprintf(out, 512, "%s", given)
                                : snprintf(out, 512, "%s/%s", context->data_dir, fallback);
    if (size < 0 || size >= 512)
        return fail_field(why, name, "PATH_TOO_LONG", "the path is longer than 511 bytes");
    return STATUS_OK;
}

status_code signer_service_open(const daemon_context *context, void **service, failure *why) {
    char trust_path[512], key_path[512];
    signer *self = NULL;
    status_code code = path_of(context, "trust", "installation.yaml", trust_path, why);
    if (code == STATUS_OK)
        code = path_of(context, "key", "keys/permit.key", key_path, why);
    if (code != STATUS_OK)
        return code;
    const signer_options options = {.trust_path = trust_path,
                                    .key_path = key_path,
                                    .verify_records = settings_flag(context->settings, "verify-records")};
    code = signer_open(&self, &options, why);
    if (code == STATUS_OK)
        *service = self;
    return code;
}

void signer_service_close(void *service) {
    signer_close(service);
}

void signer_service_write_metrics(void *service, buffer *out) {
    signer_write_metrics(service, out);
}
