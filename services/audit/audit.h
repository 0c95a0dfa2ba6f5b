/* The audit service as one process: the log, its writer, its readers, its followers. */
#ifndef AUDIT_AUDIT_H
#define AUDIT_AUDIT_H

#include "append_stream.h"
#include "daemon/daemon.h"
#include "reader.h"
#include "tails.h"

typedef struct audit_service {
    trust *roots;
    secret_key *key;
    const chance *source;
    char boot_id[37];
    audit_log *log;
    log_head head;
    bool head_ready;
    writer *appends;
    recent *newest;
    append_streams streams;
    struct publisher *checkpoints;
    reader *reads;  /* Query and GetProof */
    reader *checks; /* Verify: long, so that nobody else waits behind it */
    tails *followers;
} audit_service;

typedef struct audit_options {
    const char *directory;      /* of the log */
    const char *trust_path;     /* installation.yaml */
    const char *checkpoint_key; /* secret key file */
    bool new_epoch;
} audit_options;

/* Opens the log; audit_service_start then starts the threads. For a process without lib/daemon, as in tests.
 */
status_code audit_service_new(audit_service **out, const audit_options *options, const chance *source,
                              failure *why) MUST_USE;
status_code audit_service_check(const audit_options *options, const chance *source, failure *why) MUST_USE;
status_code audit_service_start(audit_service *self, failure *why) MUST_USE;
/* Ends all threads; what is queued is still answered. After the server has stopped. */
void audit_service_stop(audit_service *self);
void audit_service_free(audit_service *self); /* takes NULL */

/* For daemon_spec. */
extern const option audit_option_table[];
extern const size_t audit_option_count;
status_code audit_open(const daemon_context *context, void **service, failure *why);
void audit_stop(void *service);
void audit_close(void *service);
void audit_write_metrics(void *service, buffer *out);

#endif
