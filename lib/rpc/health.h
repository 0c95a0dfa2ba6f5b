/* grpc.health.v1: Check and Watch. The `service` of these handlers is the rpc_server itself. */
#ifndef RPC_HEALTH_H
#define RPC_HEALTH_H

#include "rpc/server.h"

typedef struct health_watch health_watch;
struct server_loop;

#define HEALTH_METHODS 2U
extern const rpc_method health_methods[HEALTH_METHODS];

/* On the loop's thread: tells its watchers what is true now. */
void health_publish(struct server_loop *home);

#endif
