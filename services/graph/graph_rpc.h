/* The graph service's methods, as the server takes them. */
#ifndef GRAPH_RPC_H
#define GRAPH_RPC_H

#include "rpc/server.h"

extern const rpc_method graph_methods[];
extern const size_t graph_method_count;

#endif
