/* The handle of the control data: opening, the background thread's life, handing out views, and what can be
 * asked about them. The thread's work is in poll.c and replicas.c, writing in put.c. */
#include "control/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "state.h"

/* ---- The thread ---- */

void control_wake(control *self, bool all) {
    if (all)
        atomic_store(&self->changed, true);
    uint64_t one = 1;
    /* A full counter is a wake-up too. */
    ssize_t ignored = write(self->wake, &one, sizeof one);
    (void)ignored;
}

static void watched(void *context, const coord_event *events, size_t count, int64_t revision,
                    bool compacted) {
    (void)events, (void)revision;
    control *self = context;
    if (compacted)
        atomic_store(&self->watch_broken, true);
    if (compacted || count > 0)
        control_wake(self, true);
}

/* Only makes things faster: without a watch the next poll sees the same. */
static void keep_watching(control *self) {
    if (atomic_exchange(&self->watch_broken, false)) {
        coord_watch_stop(self->coordination, self->watch);
        self->watch = NULL;
    }
    if (self->watch != NULL || self->store_revision == 0)
        return;
    failure why = {0};
    if (coord_watch_start(self->coordination, "control/", self->store_revision + 1, watched, self,
                          &self->watch, &why) != STATUS_OK)
        self->watch = NULL;
}

static void pause_until_woken(control *self, uint64_t begun_ms) {
    uint64_t passed = chance_boot_ms(self->source) - begun_ms;
    int left = passed >= CONTROL_POLL_MS ? 1 : (int)(CONTROL_POLL_MS - passed);
    struct pollfd descriptor = {.fd = self->wake, .events = POLLIN};
    if (poll(&descriptor, 1, left) <= 0)
        return;
    uint64_t count;
    ssize_t ignored = read(self->wake, &count, sizeof count);
    (void)ignored;
    /* Whoever writes coordination in a loop must not keep this thread busy. */
    if (chance_boot_ms(self->source) - self->synced_ms < CONTROL_RESYNC_GAP_MS)
        poll(NULL, 0, CONTROL_RESYNC_GAP_MS);
}

static void *run(void *argument) {
    control *self = argument;
    while (!atomic_load(&self->stopping)) {
        uint64_t begun_ms = chance_boot_ms(self->source);
        control_poll(self);
        keep_watching(self);
        control_announce(self);
        pause_until_woken(self, begun_ms);
    }
    if (self->watch != NULL)
        coord_watch_stop(self->coordination, self->watch);
    control_withdraw(self);
    return NULL;
}

/* ---- Opening and closing ---- */

static control *control_new(coord *coordination, const trust *roots, const chance *source, failure *why) {
    control *self = calloc(1, sizeof *self);
    if (self == NULL || view_empty(&self->current, why) != STATUS_OK) {
        free(self);
        fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the control data");
        return NULL;
    }
    self->coordination = coordination;
    self->roots = roots;
    self->source = source;
    self->wake = -1;
    pthread_mutex_init(&self->lock, NULL);
    pthread_mutex_init(&self->known_lock, NULL);
    arena_init(&self->memory, 65536, CONTROL_ARENA_BYTES);
    boot_id_read(self->boot_id);
    snprintf(self->problem, sizeof self->problem, "control data were not read yet");
    return self;
}

static void control_free(control *self) {
    if (self->wake >= 0)
        close(self->wake);
    view_unref(self->current);
    seen_free(&self->known);
    arena_free(&self->memory);
    pthread_mutex_destroy(&self->lock);
    pthread_mutex_destroy(&self->known_lock);
    free(self);
}

static status_code name_replica(control *self, const char *replica, failure *why) {
    if (replica == NULL)
        return STATUS_OK;
    size_t size = strlen(replica);
    if (size == 0 || size > 64 ||
        strspn(replica, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") != size)
        return fail(why, STATUS_INVALID_ARGUMENT, "REPLICA_NAME",
                    "a replica is named by 1 to 64 of A-Z a-z 0-9 - . _");
    snprintf(self->replica_key, sizeof self->replica_key, "replicas/policy/%s", replica);
    return STATUS_OK;
}

/* Complete, that is answered: a store whose content is refused has been read too, and its user defers
 * everything with the reason. */
static status_code first_read(control *self, failure *why) {
    uint64_t begun_ms = chance_boot_ms(self->source);
    for (unsigned attempt = 0; attempt < CONTROL_OPEN_MS / 100; attempt++) {
        control_poll(self);
        if (self->store_revision != 0 || self->refused)
            return STATUS_OK;
        if (chance_boot_ms(self->source) - begun_ms >= CONTROL_OPEN_MS)
            break;
        poll(NULL, 0, 100);
    }
    return fail(why, STATUS_UNAVAILABLE, "CONTROL_UNREADABLE",
                "the control data could not be read within %u s: %s", CONTROL_OPEN_MS / 1000, self->problem);
}

static status_code control_start(control *self, failure *why) {
    self->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->wake < 0)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_DESCRIPTOR", "eventfd: %s", strerror(errno));
    status_code code = first_read(self, why);
    if (code != STATUS_OK)
        return code;
    int error = pthread_create(&self->thread, NULL, run, self);
    if (error != 0)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD", "no thread for the control data: %s",
                    strerror(error));
    self->thread_started = true;
    return STATUS_OK;
}

status_code control_open(control **out, coord *coordination, const trust *roots, const char *replica,
                         const chance *source, failure *why) {
    control *self = control_new(coordination, roots, source, why);
    if (self == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    status_code code = name_replica(self, replica, why);
    if (code == STATUS_OK)
        code = control_start(self, why);
    if (code != STATUS_OK) {
        control_free(self);
        return code;
    }
    *out = self;
    return STATUS_OK;
}

void control_close(control *self) {
    if (self == NULL)
        return;
    atomic_store(&self->stopping, true);
    control_wake(self, false);
    if (self->thread_started)
        pthread_join(self->thread, NULL);
    control_free(self);
}

/* ---- Views ---- */

const control_view *control_acquire(control *self) {
    pthread_mutex_lock(&self->lock);
    view_box *box = self->current;
    atomic_fetch_add(&box->references, 1);
    pthread_mutex_unlock(&self->lock);
    return &box->view;
}

void control_release(control *self, const control_view *view) {
    (void)self;
    if (view != NULL)
        view_unref((view_box *)(uintptr_t)view); /* the view is its box's first member */
}

void control_on_change(control *self, void (*changed)(void *context, const control_view *view),
                       void *context) {
    pthread_mutex_lock(&self->lock);
    self->listener = changed;
    self->listener_context = context;
    pthread_mutex_unlock(&self->lock);
}

/* ---- Freshness ---- */

/* Under `lock`. */
static bool is_fresh_at(const control *self, uint64_t now_ns) {
    return !self->refused && self->checked == self->remembered && self->current->view.seq >= self->floor &&
           freshness_holds(self->proof_ns, now_ns);
}

bool control_is_fresh(const control *self) {
    control *guarded = (control *)(uintptr_t)self; /* the lock is not part of what const promises */
    pthread_mutex_lock(&guarded->lock);
    bool fresh = is_fresh_at(self, chance_boot_ns(self->source));
    pthread_mutex_unlock(&guarded->lock);
    return fresh;
}

uint64_t control_proof_age_ms(const control *self) {
    control *guarded = (control *)(uintptr_t)self;
    pthread_mutex_lock(&guarded->lock);
    uint64_t proof_ns = self->proof_ns;
    pthread_mutex_unlock(&guarded->lock);
    uint64_t now_ns = chance_boot_ns(self->source);
    if (proof_ns == 0)
        return UINT64_MAX;
    return now_ns > proof_ns ? (now_ns - proof_ns) / 1000000U : 0;
}

void control_set_floor(control *self, uint64_t seq) {
    pthread_mutex_lock(&self->lock);
    bool behind = seq > self->floor && seq > self->current->view.seq;
    if (seq > self->floor)
        self->floor = seq;
    pthread_mutex_unlock(&self->lock);
    if (behind)
        control_wake(self, false);
}

void control_reason(const control *self, char out[256]) {
    control *guarded = (control *)(uintptr_t)self;
    pthread_mutex_lock(&guarded->lock);
    uint64_t now_ns = chance_boot_ns(self->source);
    if (is_fresh_at(self, now_ns))
        out[0] = '\0';
    else if (self->problem[0] != '\0')
        snprintf(out, 256, "%s", self->problem);
    else if (self->current->view.seq < self->floor)
        snprintf(out, 256,
                 "control/seq is %llu, but the log has seen %llu; the store is behind or was rolled back",
                 (unsigned long long)self->current->view.seq, (unsigned long long)self->floor);
    else if (self->checked != self->remembered)
        snprintf(out, 256, "the log holds a statement that coordination has not been asked about yet");
    else
        snprintf(out, 256, "the last proof that the control data are current is %llu ms old",
                 (unsigned long long)((now_ns - self->proof_ns) / 1000000U));
    pthread_mutex_unlock(&guarded->lock);
}
