/* The policy service: what it holds, and its use cases. */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include "books.h"
#include "client/audit_client.h"
#include "client/graph_client.h"
#include "client/signer_client.h"
#include "control/control.h"
#include "daemon/daemon.h"
#include "interlock/policy/v1/policy.pb-c.h"
#include "projection.h"
#include "shadow.h"
#include "worker.h"

#define POLICY_PRINCIPAL "service/policy"
#define POLICY_OUTCOMES 6U
#define POLICY_MODES 4U

/* What belongs to one event loop; touched on its thread alone, or after it has stopped. The connections are
 * its own: gRPC wakes every thread that polls a connection for every byte on it. */
typedef struct policy_loop {
    rpc_channel *audit, *signer;
    audit_appender *appender;
    signer_client *permits;
} policy_loop;

typedef struct policy_service {
    daemon_context context;
    const chance *source;
    trust *roots;
    coord *coordination;
    control *live;
    secret_key *record_key;
    rpc_channel *audit, *graph; /* of the follower, the workers and the views */
    rpc_loop *views_loop;       /* its own, so that a large view does not hold up decisions */
    graph_views *views;
    const char *executor; /* the default */
    char database[512];
    books books;
    shadow shadow;
    projection log;
    audit_follower *follower; /* the control thread alone, once started */
    atomic_bool follow_again; /* the projection was emptied: start a new follower */
    atomic_bool sweep_wanted; /* control statements may be missing in the log */
    atomic_bool recorded;     /* since the start, all that stood in coordination has been found in the log */
    worker *control_worker;   /* PutControl, the sweep */
    worker *lookup_worker;    /* GetControl, records of the past */
    policy_store *control_reader, *lookup_reader;
    policy_loop *loops;
    unsigned loop_count;
    atomic_bool
        ready; /* calls arrive as soon as the server listens, which is before everything here stands */
    atomic_bool stopping;
    atomic_uint_fast64_t decisions[POLICY_OUTCOMES][POLICY_MODES];
    atomic_uint_fast64_t repeated;
} policy_service;

extern const option policy_options[];
extern const size_t policy_option_count;

/* daemon_spec's functions. */
status_code policy_service_open(const daemon_context *context, void **service, failure *why);
status_code policy_service_start(void *service, rpc_server *server, failure *why);
/* True once the log holds the control data on which decisions rest. Hastens it. */
bool policy_service_ready(void *service);
void policy_service_stop(void *service);
void policy_service_close(void *service);
void policy_service_write_metrics(void *service, buffer *out);

/* ---- use cases ---- */

/* Decides on a signed action; see docs/policy.md for the steps. STATUS_PENDING: the call is completed later.
 */
status_code policy_evaluate(policy_service *self, rpc_call *call,
                            const Interlock__Common__V1__Envelope *action, failure *why) MUST_USE;

/* Writes a control statement and its record. Blocking: on the control thread. */
status_code policy_put_control(policy_service *self, const Interlock__Common__V1__Envelope *statement,
                               arena *memory, Interlock__Control__V1__PutControlResponse *out,
                               failure *why) MUST_USE;
/* Appends every control statement that the log lacks: what a crash between the two writes left behind.
 * Blocking. */
status_code policy_sweep_control(policy_service *self, failure *why) MUST_USE;
/* A policy set as it was signed. NOT_FOUND: NO_POLICY_SET, NO_SUCH_VERSION. Blocking: on the lookup thread.
 */
status_code policy_get_set(policy_service *self, const Interlock__Policy__V1__GetPolicySetRequest *request,
                           arena *memory, Interlock__Policy__V1__GetPolicySetResponse *out,
                           failure *why) MUST_USE;
status_code policy_report_shadow(policy_service *self, uint32_t limit, arena *memory,
                                 Interlock__Policy__V1__GetShadowReportResponse *out, failure *why) MUST_USE;
/* What this replica has applied. Blocking: on the lookup thread. */
status_code policy_report_control(policy_service *self, arena *memory,
                                  Interlock__Control__V1__GetControlResponse *out, failure *why) MUST_USE;

#endif
