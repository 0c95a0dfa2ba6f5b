/* Who may state what to memory, and whether a statement is one. Pure: keys and control data come in, a
 * verdict goes out. */
#ifndef MEMORY_SIGNERS_H
#define MEMORY_SIGNERS_H

#include "control/control.h"
#include "rpc/role.h"

/* Everything a check rests on. `view` may be NULL: then operators alone are known. */
typedef struct signer_context {
    const trust *roots;
    const control_view *view;
    bool fresh; /* the view is proved fresh */
    const chance *source;
} signer_context;

/* A kind of statement. */
typedef struct statement_rule {
    const char *payload_type;
    const char *field;   /* of the request that carries it */
    const char *missing; /* the reason when there is none */
    const ProtobufCMessageDescriptor *type;
    const char *const *enrolled; /* prefixes of the principals that may sign it besides operators; ends with
                                    NULL */
    const char *enrolled_text;   /* the same in words */
} statement_rule;

/* Checks the signature, by an operator's key of the trust file or an enrolled one that the rule admits, the
 * header and the carrier. The statement is in the arena. */
status_code signed_read(const statement_rule *rule, const signer_context *context, const rpc_peer *peer,
                        const Interlock__Common__V1__Envelope *envelope, arena *memory,
                        ProtobufCMessage **out, failure *why) MUST_USE;

/* True when a list of carriers (SPIFFE ids or "unix:uid=N", a trailing * matching any suffix) admits the
 * caller; an empty list admits everyone. */
bool signer_carrier_admitted(char *const *carriers, size_t count, const rpc_peer *peer);

#endif
