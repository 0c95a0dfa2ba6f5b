/* Signed control statements, as operators make them. */
#include "statements.h"

static Interlock__Common__V1__StatementHeader *header(const signer_identity *signer, const char *type) {
    return statement_header_new(type, signer->installation, signer->principal, 0, signer->source,
                                signer->memory);
}

Interlock__Common__V1__Envelope *statement_enrolment(const signer_identity *signer,
                                                     Interlock__Control__V1__Enrolment *enrolment) {
    enrolment->header = header(signer, PAYLOAD_ENROLMENT);
    if (enrolment->header == NULL)
        return NULL;
    return dsse_sign_message(signer->key, PAYLOAD_ENROLMENT, &enrolment->base, signer->memory);
}

Interlock__Common__V1__Envelope *statement_policy(const signer_identity *signer,
                                                  Interlock__Control__V1__PolicySet *set) {
    set->header = header(signer, PAYLOAD_POLICY_SET);
    return set->header != NULL
               ? dsse_sign_message(signer->key, PAYLOAD_POLICY_SET, &set->base, signer->memory)
               : NULL;
}

Interlock__Common__V1__Envelope *statement_kill(const signer_identity *signer,
                                                Interlock__Control__V1__Kill *kill) {
    kill->header = header(signer, PAYLOAD_KILL);
    return kill->header != NULL ? dsse_sign_message(signer->key, PAYLOAD_KILL, &kill->base, signer->memory)
                                : NULL;
}
