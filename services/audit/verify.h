/* Audit's check of its own database: everything that the log states is computed again from what is stored.
 * Runs on a reader's thread, in steps, so that the write-ahead log is never held for long. */
#ifndef AUDIT_VERIFY_H
#define AUDIT_VERIFY_H

#include "audit_store.h"
#include "control/trust.h"
#include "interlock/audit/v1/audit.pb-c.h"

#define VERIFY_PROBLEMS_MAX 100U

typedef struct verify_options {
    const trust *roots;
    const char *published;         /* path of the published checkpoint */
    bool (*wanted)(void *context); /* NULL: always; false ends it with CANCELLED */
    void *context;
} verify_options;

/* OK also when problems were found; they are in the reply, whose memory is the arena. */
status_code log_verify(audit_store *from, const verify_options *options, arena *memory,
                       Interlock__Audit__V1__VerifyResponse *out, failure *why) MUST_USE;

#endif
