/* The background thread's work: proving freshness, and reading everything again when something may have
 * changed. The instant that counts is when a question was sent, because the answer is not older than that. */
#include <stdio.h>
#include <string.h>

#include "state.h"

static void note_problem(control *self, bool refused, const failure *why) {
    pthread_mutex_lock(&self->lock);
    self->refused = self->refused || refused;
    snprintf(self->problem, sizeof self->problem, "%.255s", why->message);
    pthread_mutex_unlock(&self->lock);
}

/* Under `lock`. */
static void prove(control *self, uint64_t sent_ns, int64_t sent_wall_ms) {
    self->proof_ns = sent_ns;
    self->proof_wall_ms = sent_wall_ms;
    self->refused = false;
    self->problem[0] = '\0';
}

/* ---- Everything ---- */

typedef struct content {
    int64_t seq_revision, highest_revision;
    size_t count;
    uint64_t remembered; /* what was known when it was checked */
} content;

static content describe(const coord_result *result) {
    content out = {.count = result->count};
    for (size_t i = 0; i < result->count; i++) {
        if (strcmp(result->kvs[i].key, "control/seq") == 0)
            out.seq_revision = result->kvs[i].mod_revision;
        if (result->kvs[i].mod_revision > out.highest_revision)
            out.highest_revision = result->kvs[i].mod_revision;
    }
    return out;
}

static bool content_is_applied(const control *self, const content *now) {
    return self->content_revision == now->highest_revision && self->content_count == now->count &&
           self->seq_revision == now->seq_revision && self->store_revision != 0;
}

/* Hands out the new view and tells the listener. */
static void publish(control *self, view_box *box, const content *now, uint64_t sent_ns,
                    int64_t sent_wall_ms) {
    self->seq_revision = now->seq_revision;
    self->content_revision = now->highest_revision;
    self->content_count = now->count;
    pthread_mutex_lock(&self->lock);
    view_box *old = self->current;
    if (old == NULL || old->view.seq != box->view.seq)
        self->applied_since_ns = chance_boot_ns(self->source);
    self->current = box;
    self->checked = now->remembered;
    prove(self, sent_ns, sent_wall_ms);
    void (*listener)(void *, const control_view *) = self->listener;
    void *context = self->listener_context;
    pthread_mutex_unlock(&self->lock);
    view_unref(old);
    if (listener != NULL)
        listener(context, &box->view);
}

/* The same content was read again: the view stays, its proof is new. */
static void confirm(control *self, view_box *box, const content *now, uint64_t sent_ns,
                    int64_t sent_wall_ms) {
    view_unref(box);
    pthread_mutex_lock(&self->lock);
    self->checked = now->remembered;
    prove(self, sent_ns, sent_wall_ms);
    pthread_mutex_unlock(&self->lock);
}

static void take_content(control *self, const coord_result *result, uint64_t sent_ns, int64_t sent_wall_ms) {
    view_box *box = NULL;
    failure why = {0};
    content now = describe(result);
    pthread_mutex_lock(&self->known_lock);
    pthread_mutex_lock(&self->lock);
    now.remembered = self->remembered;
    pthread_mutex_unlock(&self->lock);
    status_code code =
        view_build(self->roots, self->source, &self->known, result->kvs, result->count, &box, &why);
    pthread_mutex_unlock(&self->known_lock);
    if (code != STATUS_OK) {
        note_problem(self, true, &why);
        return;
    }
    if (content_is_applied(self, &now))
        confirm(self, box, &now, sent_ns, sent_wall_ms);
    else
        publish(self, box, &now, sent_ns, sent_wall_ms);
    self->store_revision = result->revision;
}

static void resync(control *self) {
    coord_result result = {0};
    failure why = {0};
    uint64_t sent_ns = chance_boot_ns(self->source);
    int64_t sent_wall_ms = chance_wall_ms(self->source);
    atomic_store(&self->changed, false); /* before the read: what changes from here on asks again */
    arena_reset(&self->memory);
    status_code code = coord_get_wait(self->coordination, "control/", true, CONTROL_REQUEST_MS, &self->memory,
                                      &result, &why);
    self->synced_ms = chance_boot_ms(self->source);
    if (code == STATUS_OK) {
        take_content(self, &result, sent_ns, sent_wall_ms);
        return;
    }
    atomic_store(&self->changed, true);
    note_problem(self, false, &why);
}

/* ---- The sequence alone ---- */

static bool seq_is_applied(control *self, const coord_result *result) {
    uint64_t seq = 0;
    int64_t revision = result->count == 0 ? 0 : result->kvs[0].mod_revision;
    if (result->count != 0 && !control_number_parse(result->kvs[0].value, &seq))
        return false;
    pthread_mutex_lock(&self->lock);
    bool applied = !self->refused && self->current->view.seq == seq && self->seq_revision == revision;
    pthread_mutex_unlock(&self->lock);
    return applied;
}

static bool resync_is_due(const control *self) {
    return atomic_load(&self->changed) || self->store_revision == 0 ||
           chance_boot_ms(self->source) - self->synced_ms >= CONTROL_RESYNC_MS;
}

void control_poll(control *self) {
    if (resync_is_due(self)) {
        resync(self);
        return;
    }
    coord_result result = {0};
    failure why = {0};
    uint64_t sent_ns = chance_boot_ns(self->source);
    int64_t sent_wall_ms = chance_wall_ms(self->source);
    arena_reset(&self->memory);
    if (coord_get_wait(self->coordination, "control/seq", false, CONTROL_REQUEST_MS, &self->memory, &result,
                       &why) != STATUS_OK) {
        note_problem(self, false, &why);
    } else if (seq_is_applied(self, &result)) {
        pthread_mutex_lock(&self->lock);
        prove(self, sent_ns, sent_wall_ms);
        pthread_mutex_unlock(&self->lock);
    } else {
        resync(self);
    }
}
