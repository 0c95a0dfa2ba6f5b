/* The signer: the permit key, and the one thing that is done with it. Thread-safe after signer_open. */
#ifndef SIGNER_SIGNER_H
#define SIGNER_SIGNER_H

#include <stdatomic.h>

#include "base/arena.h"
#include "control/trust.h"
#include "interlock/audit/v1/audit.pb-c.h"
#include "notes.h"

typedef struct signer {
    trust *roots;
    secret_key *key;
    bool verify_records;
    notes checkpoints;
    atomic_uint_fast64_t permits, refusals;
} signer;

typedef struct signer_options {
    const char *trust_path;
    const char *key_path;
    bool verify_records; /* also the signature of each record: 53 µs more a permit */
} signer_options;

/* The key must be one of the trust file's for permits: FAILED_PRECONDITION, reason KEY_NOT_ROOTED. */
status_code signer_open(signer **out, const signer_options *options, failure *why) MUST_USE;
void signer_close(signer *self); /* takes NULL; wipes the key */

/* The permit for a decision that the log holds: a JWS in compact form, in the arena. The same record always
 * gives the same bytes. PERMISSION_DENIED with the reason why not (see permit.h). */
status_code signer_sign(signer *self, const Interlock__Audit__V1__Receipt *receipt,
                        const Interlock__Common__V1__Envelope *record, arena *memory, char **permit,
                        failure *why) MUST_USE;

/* Every permit key of the trust file as a JWK set (RFC 7517 §5), the signer's own first, in the arena. NULL
 * without memory. */
char *signer_key_set(const signer *self, arena *memory);

void signer_write_metrics(signer *self, buffer *out);

#endif
