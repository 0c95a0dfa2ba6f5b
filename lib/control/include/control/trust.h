/* installation.yaml: the root of trust of an installation, on every machine's own disk and never in
 * coordination, so that whoever can write there does not own the system.
 *
 *     installation: demo
 *     origin: demo.interlock.local/log
 *     keys:
 *       - {principal: operator/alice, purpose: operator, public_key: "base64"}
 *       - {principal: service/policy, purpose: record, public_key: "…"}
 *       - {principal: service/audit, purpose: checkpoint, public_key: "…"}
 *       - {principal: service/signer, purpose: permit, public_key: "…"}
 *
 * Immutable once loaded; thread-safe. */
#ifndef CONTROL_TRUST_H
#define CONTROL_TRUST_H

#include "crypto/crypto.h"

#define TRUST_KEYS_MAX 64U

typedef struct trust_key {
    char principal[128];
    key_purpose purpose;
    public_key key;
} trust_key;

typedef struct trust {
    char installation[64]; /* a-z 0-9 - . ; also the SPIFFE trust domain */
    char origin[128];      /* of the log */
    trust_key keys[TRUST_KEYS_MAX];
    size_t count;
} trust;

status_code trust_load(const char *path, trust **out,
                       failure *why) MUST_USE; /* errors with line and column */
void trust_free(trust *self);
/* Create-exclusive, fsync. */
status_code trust_save(const trust *self, const char *path, failure *why) MUST_USE;
/* The first key of that purpose (and principal, unless NULL); NULL when there is none. */
const trust_key *trust_find(const trust *self, key_purpose purpose, const char *principal);
const trust_key *trust_find_keyid(const trust *self, key_purpose purpose, const char *keyid);

#endif
