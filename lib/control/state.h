/* What the files of lib/control share: the handle, and who may touch which part of it. */
#ifndef CONTROL_STATE_H
#define CONTROL_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "view.h"

#define CONTROL_REQUEST_MS 1000U  /* the longest wait for one answer of coordination */
#define CONTROL_OPEN_MS 5000U     /* … and for the first read */
#define CONTROL_RESYNC_MS 10000U  /* reads everything this often, also when control/seq has not changed */
#define CONTROL_RESYNC_GAP_MS 20U /* … and never more often than this, whatever a watch says */
#define CONTROL_ANNOUNCE_MS 1000U
#define CONTROL_LEASE_MS 12000U /* longer than a proof lasts: who is gone from the list has closed before */
#define CONTROL_LEASE_RENEW_MS 4000U
#define CONTROL_ARENA_BYTES (256U << 20)

struct control {
    /* Set once, before the thread starts. */
    coord *coordination;
    const trust *roots;
    const chance *source;
    char replica_key[COORD_KEY_BYTES]; /* "" when it does not announce itself */
    char boot_id[37];
    int wake; /* an eventfd: any thread may write */

    /* Any thread. */
    atomic_bool stopping;
    atomic_bool changed; /* a reason to read everything again */
    atomic_bool watch_broken;

    pthread_mutex_t lock; /* short: guards everything up to the next blank line */
    view_box *current;
    uint64_t proof_ns;         /* t_send of the last read that showed what `current` holds; 0: none */
    int64_t proof_wall_ms;     /* the same instant for other machines */
    uint64_t applied_since_ns; /* when this process learnt that current->view.seq stands */
    bool refused;              /* coordination holds what must not count: never fresh */
    char problem[256];         /* of the last read; "" when it went well */
    uint64_t floor;
    uint64_t remembered; /* how many times control_remember had news */
    uint64_t checked;    /* … of which the last complete read that counts knew; fewer: not fresh */
    void (*listener)(void *context, const control_view *view);
    void *listener_context;

    pthread_mutex_t known_lock; /* held while a view is built; taken before `lock`, never after */
    seen known;

    /* The background thread's own (control_open's before it starts). */
    pthread_t thread;
    bool thread_started;
    arena memory;
    coord_watch *watch;
    int64_t store_revision;   /* of the last complete read */
    int64_t seq_revision;     /* mod_revision of control/seq as applied; 0: there is none */
    int64_t content_revision; /* the highest mod_revision under control/ */
    size_t content_count;
    uint64_t synced_ms, announced_ms, announced_seq, lease_ms;
    int64_t lease;
};

/* Makes the background thread look again, now; `all` at everything. Any thread. */
void control_wake(control *self, bool all);

/* One read of control/seq, and of everything when it is not what is applied. On the background thread. */
void control_poll(control *self);

/* Announces this replica when it is due; takes the announcement back at the end. On the background thread. */
void control_announce(control *self);
void control_withdraw(control *self);

#endif
