/* A proposed action before anything is decided: from an envelope as received to an action whose signature,
 * header and shape hold. Pure but for the clock; thread-safe. */
#ifndef POLICY_ACTION_H
#define POLICY_ACTION_H

#include "base/arena.h"
#include "base/chance.h"
#include "base/limits.h"
#include "control/control.h"
#include "interlock/policy/v1/policy.pb-c.h"
#include "rpc/role.h"

/* The record carries the envelope beside the decision, and audit takes 256 KiB. */
#define ACTION_ENVELOPE_BYTES (160U << 10)
#define ACTION_VERB_BYTES 64U
#define ACTION_INTENT_BYTES 4096U
#define ACTION_ARGUMENTS 64U
#define ACTION_VALUE_BYTES (32U << 10)
#define ACTION_PROBES 16U

typedef struct action_gate {
    const control_view *view;
    const char *installation;
    const rpc_peer *peer;
    const chance *source;
} action_gate;

typedef struct proposal {
    const Interlock__Policy__V1__Action *action;
    const Interlock__Common__V1__Envelope *envelope; /* as received */
    const control_enrolment *enrolment;              /* in the gate's view */
    uint8_t digest[CRYPTO_HASH_BYTES];               /* of the payload as received */
    bool expired; /* past its expires_at: good for repeating what was decided, for nothing else */
} proposal;

/* Opens the envelope. Everything but the envelope itself is in the arena. Fails with
 * UNAUTHENTICATED   AGENT_NOT_ENROLLED, KEY_REVOKED, SIGNATURE_INVALID, PRINCIPAL_MISMATCH, STATEMENT_*
 * INVALID_ARGUMENT  ACTION_INVALID (with the field), NOT_CANONICAL, MALFORMED_MESSAGE, STATEMENT_*
 * PERMISSION_DENIED CARRIER_NOT_ALLOWED
 * but not for an action that has merely expired: that is for the caller to judge. */
status_code action_open(const action_gate *gate, const Interlock__Common__V1__Envelope *envelope,
                        arena *memory, proposal *out, failure *why) MUST_USE;

/* For an expired action on which the log holds no decision: INVALID_ARGUMENT, STATEMENT_EXPIRED. */
status_code action_refuse_expired(const proposal *self, const chance *source, failure *why);

/* The shape alone: INVALID_ARGUMENT, ACTION_INVALID, with the path of the field and the rule it breaks. */
status_code action_check(const Interlock__Policy__V1__Action *action, failure *why) MUST_USE;

/* May this caller carry this principal's statements? */
bool action_carrier_allowed(const Interlock__Control__V1__Enrolment *enrolment, const rpc_peer *peer);

#endif
