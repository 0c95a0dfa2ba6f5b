/* The policy service's methods as blocking calls. */
#include "client/policy_client.h"

status_code policy_evaluate_wait(rpc_channel *channel, const Interlock__Common__V1__Envelope *action,
                                 uint32_t timeout_ms, arena *memory,
                                 Interlock__Policy__V1__EvaluateResponse **out, failure *why) {
    Interlock__Policy__V1__EvaluateRequest request = INTERLOCK__POLICY__V1__EVALUATE_REQUEST__INIT;
    request.action = (Interlock__Common__V1__Envelope *)action;
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(channel, "/interlock.policy.v1.PolicyService/Evaluate", &request.base,
                                     &interlock__policy__v1__evaluate_response__descriptor, timeout_ms,
                                     memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Policy__V1__EvaluateResponse *)answer;
    return code;
}

status_code policy_put_control_wait(rpc_channel *channel, const Interlock__Common__V1__Envelope *statement,
                                    uint32_t timeout_ms, arena *memory,
                                    Interlock__Control__V1__PutControlResponse **out, failure *why) {
    Interlock__Control__V1__PutControlRequest request = INTERLOCK__CONTROL__V1__PUT_CONTROL_REQUEST__INIT;
    request.statement = (Interlock__Common__V1__Envelope *)statement;
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(channel, "/interlock.control.v1.ControlService/PutControl",
                                     &request.base, &interlock__control__v1__put_control_response__descriptor,
                                     timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Control__V1__PutControlResponse *)answer;
    return code;
}

status_code policy_get_control_wait(rpc_channel *channel, uint32_t timeout_ms, arena *memory,
                                    Interlock__Control__V1__GetControlResponse **out, failure *why) {
    Interlock__Control__V1__GetControlRequest request = INTERLOCK__CONTROL__V1__GET_CONTROL_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(channel, "/interlock.control.v1.ControlService/GetControl",
                                     &request.base, &interlock__control__v1__get_control_response__descriptor,
                                     timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Control__V1__GetControlResponse *)answer;
    return code;
}

status_code policy_get_policy_set_wait(rpc_channel *channel,
                                       const Interlock__Policy__V1__GetPolicySetRequest *request,
                                       uint32_t timeout_ms, arena *memory,
                                       Interlock__Policy__V1__GetPolicySetResponse **out, failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(
        channel, "/interlock.policy.v1.PolicyService/GetPolicySet", &request->base,
        &interlock__policy__v1__get_policy_set_response__descriptor, timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Policy__V1__GetPolicySetResponse *)answer;
    return code;
}

status_code policy_get_shadow_report_wait(rpc_channel *channel,
                                          const Interlock__Policy__V1__GetShadowReportRequest *request,
                                          uint32_t timeout_ms, arena *memory,
                                          Interlock__Policy__V1__GetShadowReportResponse **out,
                                          failure *why) {
    ProtobufCMessage *answer = NULL;
    status_code code = rpc_call_wait(
        channel, "/interlock.policy.v1.PolicyService/GetShadowReport", &request->base,
        &interlock__policy__v1__get_shadow_report_response__descriptor, timeout_ms, memory, &answer, why);
    if (code == STATUS_OK)
        *out = (Interlock__Policy__V1__GetShadowReportResponse *)answer;
    return code;
}
