/* An event loop: one thread, one completion queue, one bounded mailbox. Every gRPC operation of a call
 * happens on its loop's thread; other threads put a mail into the mailbox. */
#ifndef RPC_LOOP_H
#define RPC_LOOP_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "rpc/client.h"

/* What completes: the tag of every batch is an event embedded in the object that started it. */
typedef struct rpc_event rpc_event;
struct rpc_event {
    void (*run)(rpc_event *self, bool ok);
};

/* What other threads send: embedded as well, so that sending it cannot fail for want of memory. */
typedef struct rpc_mail rpc_mail;
struct rpc_mail {
    rpc_mail *next;
    void (*run)(rpc_mail *self);
};

/* Whatever must be cancelled before the loop can end: client calls, client streams. Loop thread only. */
typedef struct loop_member loop_member;
struct loop_member {
    loop_member *previous, *next;
    void (*cancel)(loop_member *self);
};

#define OWNER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define LOOP_POSTS_MAX 65536U
#define LOOP_LATER_MAX 64U
#define LOOP_LATER_EVENTS 64U /* that may go before a task of rpc_loop_later */
#define LOOP_LOOK_MOST_MS 20U
#define LOOP_IDLE_ARENAS 256U
#define LOOP_IDLE_BYTES (16U << 20) /* of all arenas that are kept warm */
#define LOOP_ARENA_FIRST_BYTES 8192U
#define LOOP_ARENA_LIMIT_BYTES (64U << 20)
#define LOOP_ARENA_KEEP_BYTES (2U << 20) /* an arena that grew beyond it is not kept warm */

typedef struct loop_timer loop_timer;

struct rpc_loop {
    grpc_completion_queue *queue;
    pthread_t thread;
    unsigned index;
    bool running; /* the thread exists */
    bool aside;   /* looks at its queue now and then, and waits for mail and timers in between */

    pthread_mutex_t mutex; /* guards first, last, closed */
    pthread_cond_t mailed; /* of a loop aside */
    rpc_mail *first, *last;
    bool closed;
    atomic_uint posts;  /* tasks that wait, with those of timers apart */
    atomic_uint timers; /* timers that wait */
    grpc_channel *wake_channel;
    grpc_call *wake_call; /* an empty batch on it is the cheapest way to make the queue return */
    rpc_event wake;
    rpc_mail close_mail;

    /* Loop thread only. */
    bool closing;
    uint32_t look_ms; /* how long a loop aside waited last, at most LOOP_LOOK_MOST_MS */
    arena *idle_arenas[LOOP_IDLE_ARENAS];
    unsigned idle_count;
    size_t idle_bytes;
    loop_member *members;
    loop_timer *timer_heap;
    struct {
        void (*task)(void *context);
        void *context;
    } later[LOOP_LATER_MAX]; /* for when nothing else is there to do */
    unsigned later_count;
};

status_code loop_open(rpc_loop *self, unsigned index, failure *why) MUST_USE;
status_code loop_run(rpc_loop *self, failure *why) MUST_USE; /* starts the thread */
/* Runs what is in the mailbox, cancels members and timers, waits for every pending event. Not on the loop. */
void loop_close(rpc_loop *self);
/* The queue goes last: what else uses it (the server) must be destroyed between loop_close and this. */
void loop_free(rpc_loop *self);

/* False when the loop has closed: the mail is not taken. Any thread. */
bool loop_send(rpc_loop *self, rpc_mail *mail);

void loop_member_add(rpc_loop *self, loop_member *member);
void loop_member_remove(rpc_loop *self, loop_member *member);

uint64_t monotonic_ns(void); /* the clock of gRPC's deadlines; differences only */

/* A warm arena; NULL without memory. Loop thread only. */
arena *loop_arena_take(rpc_loop *self);
void loop_arena_give(rpc_loop *self, arena *memory); /* takes NULL */

/* Starts a batch whose event is `tag`. A batch that gRPC refuses is a fault of this library: it ends the
 * process. */
void batch_start(grpc_call *call, const grpc_op *operations, size_t count, rpc_event *tag);

#endif
