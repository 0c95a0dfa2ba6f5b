/* Policy sets on their way to the policy service: documents to a signed statement. */
#ifndef CLI_POLICY_SET_H
#define CLI_POLICY_SET_H

#include "interlock/control/v1/control.pb-c.h"
#include "policy_files.h"

#define POLICY_DOCUMENT_BYTES (254U << 10)

/* Reads and checks FILE… as the service will, so that complaints come with all their places. `out` is filled
 * with name, version and the documents in one stream. */
status_code policy_set_compose(cli *self, const char *const *paths, size_t count,
                               Interlock__Control__V1__PolicySet *out, policy_problems *problems,
                               failure *why) MUST_USE;

/* Signs with the operator's key and sends. */
status_code policy_set_put(cli *self, Interlock__Control__V1__PolicySet *set,
                           Interlock__Control__V1__PutControlResponse **out, failure *why) MUST_USE;

/* What the running installation has applied. */
status_code policy_control_get(cli *self, Interlock__Control__V1__GetControlResponse **out,
                               failure *why) MUST_USE;

#endif
