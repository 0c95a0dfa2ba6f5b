/* Typed calls of the policy service: decisions and control. Blocking, never on a loop thread; answers are in
 * the arena. Thread-safe. All methods are idempotent: after UNAVAILABLE or DEADLINE_EXCEEDED send the
 * same envelope again. */
#ifndef CLIENT_POLICY_CLIENT_H
#define CLIENT_POLICY_CLIENT_H

#include "interlock/control/v1/control.pb-c.h"
#include "interlock/policy/v1/policy.pb-c.h"
#include "rpc/client.h"

/* `action` is an envelope of type PAYLOAD_ACTION. A denial is STATUS_OK with reasons. */
status_code policy_evaluate_wait(rpc_channel *channel, const Interlock__Common__V1__Envelope *action,
                                 uint32_t timeout_ms, arena *memory,
                                 Interlock__Policy__V1__EvaluateResponse **out, failure *why) MUST_USE;

/* `statement` is an envelope of an Enrolment, PolicySet or Kill, signed by an operator. */
status_code policy_put_control_wait(rpc_channel *channel, const Interlock__Common__V1__Envelope *statement,
                                    uint32_t timeout_ms, arena *memory,
                                    Interlock__Control__V1__PutControlResponse **out, failure *why) MUST_USE;

status_code policy_get_control_wait(rpc_channel *channel, uint32_t timeout_ms, arena *memory,
                                    Interlock__Control__V1__GetControlResponse **out, failure *why) MUST_USE;

/* NOT_FOUND when no such set is known. */
status_code policy_get_policy_set_wait(rpc_channel *channel,
                                       const Interlock__Policy__V1__GetPolicySetRequest *request,
                                       uint32_t timeout_ms, arena *memory,
                                       Interlock__Policy__V1__GetPolicySetResponse **out,
                                       failure *why) MUST_USE;

status_code policy_get_shadow_report_wait(rpc_channel *channel,
                                          const Interlock__Policy__V1__GetShadowReportRequest *request,
                                          uint32_t timeout_ms, arena *memory,
                                          Interlock__Policy__V1__GetShadowReportResponse **out,
                                          failure *why) MUST_USE;

#endif
