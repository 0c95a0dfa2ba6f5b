/* The method table of memory. */
#ifndef MEMORY_RPC_H
#define MEMORY_RPC_H

#include "rpc/server.h"
#include "worker.h"

extern const rpc_method memory_methods[];
extern const size_t memory_method_count;

/* The workers' part of each method; the context is the memory_service. */
status_code memory_rpc_recall_task(void *context, memory_store *reader, rpc_call *call, failure *why);
status_code memory_rpc_record_task(void *context, memory_store *reader, rpc_call *call, failure *why);

#endif
