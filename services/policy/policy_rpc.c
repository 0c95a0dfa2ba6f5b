/* Handlers of one shape: take the request to the use case, on the thread where it may run. */
#include "policy_rpc.h"

#include "policy.h"

typedef struct control_call {
    policy_service *service;
    rpc_call *call;
} control_call;

static status_code check_ready(const policy_service *self, failure *why) {
    if (atomic_load(&self->ready))
        return STATUS_OK;
    (void)fail(why, STATUS_UNAVAILABLE, "STARTING", "policy is starting; try again");
    why->retry_after_ms = 200;
    return STATUS_UNAVAILABLE;
}

/* No decision stands in the log before the enrolment and the policy set that it rests on. */
static status_code check_recorded(const policy_service *self, failure *why) {
    status_code code = check_ready(self, why);
    if (code != STATUS_OK || atomic_load(&self->recorded))
        return code;
    (void)fail(why, STATUS_UNAVAILABLE, "STARTING",
               "policy has started and waits for the log to hold the control data; try again, and look at "
               "audit if it lasts");
    why->retry_after_ms = 500;
    return STATUS_UNAVAILABLE;
}

static status_code evaluate(void *service, rpc_call *call, const ProtobufCMessage *request,
                            ProtobufCMessage *response, failure *why) {
    (void)response;
    status_code code = check_recorded(service, why);
    return code != STATUS_OK
               ? code
               : policy_evaluate(service, call,
                                 ((const Interlock__Policy__V1__EvaluateRequest *)request)->action, why);
}

static status_code stopping_failure(failure *why) {
    return fail(why, STATUS_UNAVAILABLE, "STOPPING", "policy is stopping; try again");
}

/* `which` is taken only once the service stands. */
static status_code submit(worker *const *which, worker_task task, policy_service *service, rpc_call *call,
                          failure *why) {
    status_code code = check_ready(service, why);
    if (code != STATUS_OK)
        return code;
    control_call *work = arena_alloc(rpc_call_arena(call), sizeof *work);
    if (work == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "CALL_TOO_LARGE", "no memory left in this call");
    *work = (control_call){service, call};
    code = worker_submit(*which, task, work, why);
    return code == STATUS_OK ? STATUS_PENDING : code;
}

static void put_control_task(void *context, bool stopping) {
    const control_call *work = context;
    failure why = {0};
    const Interlock__Control__V1__PutControlRequest *request =
        (const Interlock__Control__V1__PutControlRequest *)rpc_call_request(work->call);
    status_code code =
        stopping
            ? stopping_failure(&why)
            : policy_put_control(work->service, request->statement, rpc_call_arena(work->call),
                                 (Interlock__Control__V1__PutControlResponse *)rpc_call_response(work->call),
                                 &why);
    rpc_call_complete(work->call, code, &why);
}

static status_code put_control(void *service, rpc_call *call, const ProtobufCMessage *request,
                               ProtobufCMessage *response, failure *why) {
    (void)request;
    (void)response;
    return submit(&((policy_service *)service)->control_worker, put_control_task, service, call, why);
}

static void get_control_task(void *context, bool stopping) {
    const control_call *work = context;
    failure why = {0};
    status_code code =
        stopping ? stopping_failure(&why)
                 : policy_report_control(
                       work->service, rpc_call_arena(work->call),
                       (Interlock__Control__V1__GetControlResponse *)rpc_call_response(work->call), &why);
    rpc_call_complete(work->call, code, &why);
}

static status_code get_control(void *service, rpc_call *call, const ProtobufCMessage *request,
                               ProtobufCMessage *response, failure *why) {
    (void)request;
    (void)response;
    return submit(&((policy_service *)service)->lookup_worker, get_control_task, service, call, why);
}

static void get_set_task(void *context, bool stopping) {
    const control_call *work = context;
    failure why = {0};
    status_code code =
        stopping
            ? stopping_failure(&why)
            : policy_get_set(work->service,
                             (const Interlock__Policy__V1__GetPolicySetRequest *)rpc_call_request(work->call),
                             rpc_call_arena(work->call),
                             (Interlock__Policy__V1__GetPolicySetResponse *)rpc_call_response(work->call),
                             &why);
    rpc_call_complete(work->call, code, &why);
}

static status_code get_set(void *service, rpc_call *call, const ProtobufCMessage *request,
                           ProtobufCMessage *response, failure *why) {
    (void)request;
    (void)response;
    return submit(&((policy_service *)service)->lookup_worker, get_set_task, service, call, why);
}

static status_code get_shadow_report(void *service, rpc_call *call, const ProtobufCMessage *request,
                                     ProtobufCMessage *response, failure *why) {
    status_code code = check_ready(service, why);
    return code != STATUS_OK
               ? code
               : policy_report_shadow(
                     service, ((const Interlock__Policy__V1__GetShadowReportRequest *)request)->limit,
                     rpc_call_arena(call), (Interlock__Policy__V1__GetShadowReportResponse *)response, why);
}

const rpc_method policy_methods[] = {
    RPC_UNARY("/interlock.policy.v1.PolicyService/Evaluate",
              interlock__policy__v1__evaluate_request__descriptor,
              interlock__policy__v1__evaluate_response__descriptor, ROLE_AGENT | ROLE_OPERATOR, evaluate),
    RPC_UNARY("/interlock.policy.v1.PolicyService/GetPolicySet",
              interlock__policy__v1__get_policy_set_request__descriptor,
              interlock__policy__v1__get_policy_set_response__descriptor, ROLE_OPERATOR | ROLE_AUDITOR,
              get_set),
    RPC_UNARY("/interlock.policy.v1.PolicyService/GetShadowReport",
              interlock__policy__v1__get_shadow_report_request__descriptor,
              interlock__policy__v1__get_shadow_report_response__descriptor, ROLE_OPERATOR | ROLE_AUDITOR,
              get_shadow_report),
    RPC_UNARY("/interlock.control.v1.ControlService/PutControl",
              interlock__control__v1__put_control_request__descriptor,
              interlock__control__v1__put_control_response__descriptor, ROLE_OPERATOR, put_control),
    RPC_UNARY("/interlock.control.v1.ControlService/GetControl",
              interlock__control__v1__get_control_request__descriptor,
              interlock__control__v1__get_control_response__descriptor,
              ROLE_OPERATOR | ROLE_AUDITOR | ROLE_SERVICE, get_control),
};
const size_t policy_method_count = sizeof policy_methods / sizeof policy_methods[0];
