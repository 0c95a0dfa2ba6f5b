/* One control statement, from an envelope that anyone may have written to what an operator said. Pure but for
 * the clock that a header's date is held against. */
#ifndef CONTROL_STATEMENT_H
#define CONTROL_STATEMENT_H

#include "base/arena.h"
#include "base/chance.h"
#include "control/trust.h"
#include "coord/coord.h"
#include "interlock/control/v1/control.pb-c.h"

#define STATEMENT_SUBJECT_BYTES 256U
#define STATEMENT_TEXT_BYTES 1024U
#define STATEMENT_CARRIERS_MAX 64U
#define STATEMENT_DOCUMENT_BYTES (254U << 10) /* with its statement it fits into a record of the log */

typedef struct statement {
    /* Exactly one of these, in the arena. */
    const Interlock__Control__V1__Enrolment *enrolment;
    const Interlock__Control__V1__PolicySet *policy;
    const Interlock__Control__V1__Kill *kill;
    public_key enrolled; /* of an enrolment */
    uint64_t version;
    uint8_t digest[CRYPTO_HASH_BYTES]; /* SHA-256 of the payload */
    char key[COORD_KEY_BYTES];         /* where it belongs in coordination */
} statement;

/* Verifies: the payload type is one of the three, an operator's key of `roots` signed it, the bytes are
 * canonical, the header is for this installation, names that operator and never expires, and every field is
 * within its bounds. `signature_known` skips the signature alone, for bytes that were verified before. */
status_code statement_verify(const trust *roots, const chance *source,
                             const Interlock__Common__V1__Envelope *envelope, bool signature_known,
                             arena *memory, statement *out, failure *why) MUST_USE;

/* "control/kill/<scope>/<subject>": the subject in base64url, or "~" and the hex of its SHA-256 when it is
 * longer than 96 bytes. False for an unknown scope. */
bool statement_kill_key(Interlock__Control__V1__Kill__Scope scope, const char *subject,
                        char out[COORD_KEY_BYTES]) MUST_USE;

#endif
