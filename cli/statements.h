/* Signed control statements, as operators make them. Everything is in the arena. */
#ifndef CLI_STATEMENTS_H
#define CLI_STATEMENTS_H

#include "cli.h"
#include "crypto/dsse.h"
#include "interlock/control/v1/control.pb-c.h"

typedef struct signer_identity {
    const secret_key *key;
    const char *principal;
    const char *installation;
    const chance *source;
    arena *memory;
} signer_identity;

/* Each fills in the header, signs, and returns NULL without memory. */
Interlock__Common__V1__Envelope *statement_enrolment(const signer_identity *signer,
                                                     Interlock__Control__V1__Enrolment *enrolment);
Interlock__Common__V1__Envelope *statement_policy(const signer_identity *signer,
                                                  Interlock__Control__V1__PolicySet *set);
Interlock__Common__V1__Envelope *statement_kill(const signer_identity *signer,
                                                Interlock__Control__V1__Kill *kill);

#endif
