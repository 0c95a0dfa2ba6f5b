/* The methods of PolicyService and ControlService. */
#ifndef POLICY_POLICY_RPC_H
#define POLICY_POLICY_RPC_H

#include "rpc/server.h"

extern const rpc_method policy_methods[];
extern const size_t policy_method_count;

#endif
