/* The methods of AuditService, for a server whose service is an audit_service. */
#ifndef AUDIT_AUDIT_RPC_H
#define AUDIT_AUDIT_RPC_H

#include "rpc/server.h"

extern const rpc_method audit_methods[];
extern const size_t audit_method_count;

#endif
