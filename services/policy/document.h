/* A policy set as one of its versions stands in the control data: the set that lib/policies has read, the
 * version under which it was signed, the digest of its bytes. Thread-safe once parsed; counted. */
#ifndef POLICY_DOCUMENT_H
#define POLICY_DOCUMENT_H

#include "base/bytes.h"
#include "interlock/control/v1/control.pb-c.h"
#include "policies/policies.h"

typedef struct policy_document {
    policy_set *set;
    uint64_t version; /* of the statement: the document's own, unless it was brought back */
    char digest[65];  /* SHA-256 of the document's bytes, hex */
} policy_document;

/* INVALID_ARGUMENT, reason POLICY_INVALID: "policy:LINE:COLUMN: …"; RESOURCE_EXHAUSTED, POLICY_TOO_LARGE. */
status_code document_parse(bytes text, policy_document **out, failure *why) MUST_USE;
policy_document *document_ref(policy_document *self);
void document_unref(policy_document *self); /* takes NULL; the last one frees */

/* The statement's document, with the statement's version. */
status_code document_read(const Interlock__Control__V1__PolicySet *statement, policy_document **out,
                          failure *why) MUST_USE;

/* What keeps a statement from getting into force: a document that cannot be read, another name or version
 * than the statement's, a rule that can never speak (INVALID_ARGUMENT, POLICY_INVALID); one that locks
 * everybody out, unless the statement says that it is meant (FAILED_PRECONDITION, POLICY_LOCKS_OUT). A shadow
 * set may. */
status_code document_check(const Interlock__Control__V1__PolicySet *statement, failure *why) MUST_USE;

#endif
