/* Signing permits: verify the checkpoint, check the record against it, write the claims, sign. */
#include "signer.h"

#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"
#include "crypto/jws.h"
#include "permit.h"

#define PERMIT_BYTES 8192U
#define KEY_SET_BYTES 16384U

/* ---- Opening ---- */

static status_code load(signer *self, const signer_options *options, failure *why) {
    status_code code = trust_load(options->trust_path, &self->roots, why);
    if (code == STATUS_OK)
        code = secret_key_load(options->key_path, KEY_PERMIT, &self->key, why);
    if (code != STATUS_OK)
        return code;
    if (trust_find_keyid(self->roots, KEY_PERMIT, secret_key_public(self->key)->keyid) == NULL)
        return fail(why, STATUS_FAILED_PRECONDITION, "KEY_NOT_ROOTED",
                    "%.200s: this key is not in %.200s for permits, so that nobody would believe them",
                    options->key_path, options->trust_path);
    if (trust_find(self->roots, KEY_CHECKPOINT, NULL) == NULL ||
        trust_find(self->roots, KEY_RECORD, NULL) == NULL)
        return fail(why, STATUS_FAILED_PRECONDITION, "KEY_NOT_ROOTED",
                    "%.200s: a key for checkpoints and one for records are needed to check receipts",
                    options->trust_path);
    return STATUS_OK;
}

status_code signer_open(signer **out, const signer_options *options, failure *why) {
    signer *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the signer");
    self->verify_records = options->verify_records;
    status_code code = load(self, options, why);
    notes_init(&self->checkpoints, self->roots);
    if (code != STATUS_OK) {
        signer_close(self);
        return code;
    }
    *out = self;
    return STATUS_OK;
}

void signer_close(signer *self) {
    if (self == NULL)
        return;
    secret_key_free(self->key);
    trust_free(self->roots);
    notes_free(&self->checkpoints);
    free(self);
}

/* ---- Signing ---- */

static status_code write_permit(const signer *self, const Interlock__Policy__V1__PermitClaims *claims,
                                uint64_t index, arena *memory, char **permit, failure *why) {
    buffer json, token;
    buffer_init(&json, PERMIT_CLAIMS_BYTES);
    buffer_init(&token, PERMIT_BYTES);
    permit_claims_write(claims, index, &json);
    status_code code = buffer_ok(&json)
                           ? jws_sign(self->key, JWS_PERMIT_TYPE, buffer_bytes(&json), &token, why)
                           : fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the permit");
    char *copy = code == STATUS_OK ? arena_text(memory, token.data) : NULL;
    if (code == STATUS_OK && copy == NULL)
        code = fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the permit");
    if (code == STATUS_OK)
        *permit = copy;
    buffer_free(&json);
    buffer_free(&token);
    return code;
}

static status_code sign(signer *self, const Interlock__Audit__V1__Receipt *receipt,
                        const Interlock__Common__V1__Envelope *record, arena *memory, char **permit,
                        failure *why) {
    checkpoint tree;
    const Interlock__Policy__V1__PermitClaims *claims = NULL;
    if (receipt == NULL || record == NULL)
        return fail(why, STATUS_PERMISSION_DENIED, "RECEIPT_MALFORMED", "receipt or record is missing");
    status_code code = notes_verify(&self->checkpoints, bytes_of_text(receipt->checkpoint), &tree, why);
    if (code == STATUS_OK)
        code = permit_check(self->roots, &tree, receipt, record, self->verify_records, memory, &claims, why);
    if (code == STATUS_OK)
        code = write_permit(self, claims, receipt->index, memory, permit, why);
    return code;
}

status_code signer_sign(signer *self, const Interlock__Audit__V1__Receipt *receipt,
                        const Interlock__Common__V1__Envelope *record, arena *memory, char **permit,
                        failure *why) {
    status_code code = sign(self, receipt, record, memory, permit, why);
    atomic_fetch_add(code == STATUS_OK ? &self->permits : &self->refusals, 1);
    return code;
}

/* ---- The key set ---- */

static void append_key(buffer *out, const public_key *key) {
    buffer_text(out, out->size > strlen("{\"keys\":[") ? "," : "");
    jwk_write(key, out);
}

char *signer_key_set(const signer *self, arena *memory) {
    const public_key *own = secret_key_public(self->key);
    buffer out;
    buffer_init(&out, KEY_SET_BYTES);
    buffer_text(&out, "{\"keys\":[");
    append_key(&out, own);
    for (size_t i = 0; i < self->roots->count; i++) {
        const trust_key *key = &self->roots->keys[i];
        if (key->purpose == KEY_PERMIT && strcmp(key->key.keyid, own->keyid) != 0)
            append_key(&out, &key->key);
    }
    buffer_text(&out, "]}");
    char *copy = buffer_ok(&out) ? arena_text(memory, out.data) : NULL;
    buffer_free(&out);
    return copy;
}

void signer_write_metrics(signer *self, buffer *out) {
    metrics_family(out, "interlock_signer_permits_total", "counter", "Permits signed.");
    metrics_sample(out, "interlock_signer_permits_total", "", (double)atomic_load(&self->permits));
    metrics_family(out, "interlock_signer_refusals_total", "counter", "Requests refused.");
    metrics_sample(out, "interlock_signer_refusals_total", "", (double)atomic_load(&self->refusals));
    metrics_family(out, "interlock_signer_checkpoints_total", "counter", "Checkpoint signatures verified.");
    metrics_sample(out, "interlock_signer_checkpoints_total", "", (double)notes_verified(&self->checkpoints));
}
