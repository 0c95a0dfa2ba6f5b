/* What the files of the client share: the channel, its calls in flight, and how a result is read. */
#ifndef RPC_CHANNEL_H
#define RPC_CHANNEL_H

#include <grpc/support/time.h>

#include "library.h"
#include "loop.h"

/* A call of the channel, so that closing it can cancel them. Guarded by the channel's mutex. */
typedef struct channel_call channel_call;
struct channel_call {
    grpc_call *call;
    channel_call *previous, *next;
};

struct rpc_channel {
    grpc_channel *channel;
    grpc_slice role; /* stated in metadata when has_role */
    bool has_role;
    pthread_mutex_t mutex; /* guards calls, closed, references */
    pthread_cond_t changed;
    channel_call *calls;
    unsigned references; /* the owner's and one per call that began or is about to */
    bool closed;
};

/* A reference, so that the channel lives until channel_call_end or channel_release; false when it is closed.
 */
bool channel_acquire(rpc_channel *self) MUST_USE;
void channel_release(rpc_channel *self);

/* Creates the call and enters it into the channel; false when the channel is closed. Needs a reference. */
bool channel_call_begin(rpc_channel *self, channel_call *call, grpc_completion_queue *queue, const char *path,
                        gpr_timespec deadline) MUST_USE;
/* Releases the call and the reference. The channel may be gone afterwards. */
void channel_call_end(rpc_channel *self, channel_call *call);

/* What is too large for a method is the server's to say; this only bounds what is handed to the transport. */
#define CHANNEL_REQUEST_MAX (64U << 20)

gpr_timespec deadline_in(uint32_t timeout_ms); /* 0: none */

#define CHANNEL_METADATA_MAX 2U
/* The role and the traceparent; returns how many. Slices are borrowed. */
size_t channel_metadata(const rpc_channel *self, grpc_slice traceparent, grpc_metadata *out);

/* Everything that a call receives besides its messages. */
typedef struct call_result {
    grpc_metadata_array headers, trailers;
    grpc_status_code status;
    grpc_slice text;
} call_result;
void call_result_init(call_result *self);
void call_result_clear(call_result *self); /* for the next call */
void call_result_free(call_result *self);
void call_result_receive(call_result *self, grpc_op *status_operation);
/* The code; on failure `why` is filled, details included. */
status_code call_result_read(const call_result *self, failure *why);

#endif
