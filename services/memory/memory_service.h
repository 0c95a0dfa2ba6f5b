/* The parts of a running memory service: what main starts and the handlers use. */
#ifndef MEMORY_SERVICE_H
#define MEMORY_SERVICE_H

#include <stdatomic.h>

#include "client/audit_client.h"
#include "memory.h"
#include "worker.h"

typedef struct memory_service {
    char database[512];
    const chance *source;
    trust *roots;
    coord *coordination;
    control *live;
    rpc_channel *audit;
    memory_store *writer; /* the follower's thread alone, once it runs */
    arena batch_memory;   /* the same */
    audit_follower *follower;
    memory_recorder recorder;
    worker_pool *readers;   /* Recall */
    worker_pool *recorders; /* RecordOutcome and ConfirmChain, which wait for audit */

    /* The follower's words, read by any thread. */
    atomic_bool stopping, broken;
    atomic_uint_fast64_t next_index, tree_size, heard_boot_ms;
} memory_service;

extern const option memory_options[];
extern const size_t memory_option_count;

/* As in daemon_spec. */
status_code memory_service_open(const daemon_context *context, void **service, failure *why);
status_code memory_service_start(void *service, rpc_server *server, failure *why);
void memory_service_stop(void *service);
void memory_service_close(void *service);
void memory_service_write_metrics(void *service, buffer *out);
bool memory_service_healthy(void *service);

#endif
