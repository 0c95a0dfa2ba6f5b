/* Follows the log for what the graph learns from it: confirmed chains of causes. */
#ifndef GRAPH_LOG_FOLLOWER_H
#define GRAPH_LOG_FOLLOWER_H

#include "ingest.h"
#include "rpc/client.h"

typedef struct log_follower log_follower;

/* From record `from` on, where the cursor is. */
status_code log_follower_start(log_follower **out, rpc_channel *audit, ingest *into, uint64_t from,
                               failure *why) MUST_USE;
void log_follower_stop(log_follower *self); /* takes NULL; joins. Before the ingest stops */

#endif
