/* The thread that answers questions for root causes. */
#include "root_cause_ask.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "root_cause_view.h"

#define PERIOD_DEFAULT_MS 2000U
#define PERIOD_LEAST_MS 200U
#define PERIOD_MOST_MS 60000U
#define IDLE_MS 200U
#define INCIDENT_BEFORE_MS 600000
#define INCIDENT_AFTER_MS 600000

typedef Interlock__Graph__V1__WatchRootCauseResponse watch_root_cause_response;

typedef struct cause_watcher {
    rpc_stream *stream; /* NULL: free */
    uint8_t *request;   /* packed RootCauseRequest */
    size_t request_size;
    uint32_t period_ms, version;
    uint64_t due_ms, answer_hash;
    bool over; /* the stream has closed: let go of it */
} cause_watcher;

struct root_cause_ask {
    ingest *of;
    const chance *source;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    rpc_call *queue[ROOT_CAUSE_QUEUE_MAX];
    size_t first, count;
    cause_watcher watchers[ROOT_CAUSE_WATCHERS_MAX];
    bool stopping, running;
    pthread_t thread;
    arena memory;         /* of the watchers' answers */
    history_reader *past; /* of the thread that answers; NULL before the first question */
    atomic_uint_fast64_t abstained;
    histogram seconds;
};

/* ---- The answer
 * -------------------------------------------------------------------------------------------------------- */

static status_code symptom_read(const root_cause_ask *self, const Interlock__Graph__V1__Symptom *from,
                                const root_cause_view *view, root_cause_question *out, failure *why) {
    *out = (root_cause_question){.symptom = EVIDENCE_NONE,
                                 .kind = (symptom_kind)from->kind,
                                 .from_ms = from->from_ms,
                                 .to_ms = from->to_ms == 0 ? chance_wall_ms(self->source) : from->to_ms,
                                 .normal_from_ms = from->normal_from_ms};
    if (from->kind > INTERLOCK__GRAPH__V1__SYMPTOM_KIND__SYMPTOM_KIND_AVAILABILITY)
        return fail_field(why, "symptom.kind", "BAD_KIND", "the symptom is of no known kind");
    if (from->node[0] == '\0')
        return STATUS_OK;
    out->symptom = root_cause_view_find(view, from->node);
    return out->symptom == EVIDENCE_NONE
               ? fail(why, STATUS_NOT_FOUND, "UNKNOWN_SYMPTOM", "the graph does not know %.200s", from->node)
               : STATUS_OK;
}

/* The incident's node says when it was opened, its edges whom it affects: the window begins
 * INCIDENT_BEFORE_MS before, because somebody had to notice, and ends INCIDENT_AFTER_MS after. */
static status_code incident_read(const root_cause_ask *self, const char *name, const picture *of,
                                 const root_cause_view *view, root_cause_question *out, failure *why) {
    uint32_t node = of == NULL ? HISTORY_NONE : picture_find(of, name);
    if (node == HISTORY_NONE || of->nodes[node].kind != INTERLOCK__GRAPH__V1__NODE_KIND__NODE_KIND_INCIDENT)
        return fail(why, STATUS_NOT_FOUND, "UNKNOWN_INCIDENT", "the graph knows no incident %.200s", name);
    int64_t opened_ms = of->nodes[node].valid_from_ms;
    int64_t now_ms = chance_wall_ms(self->source);
    *out = (root_cause_question){.symptom = EVIDENCE_NONE, .from_ms = opened_ms - INCIDENT_BEFORE_MS};
    out->to_ms =
        now_ms < opened_ms + INCIDENT_AFTER_MS && now_ms > opened_ms ? now_ms : opened_ms + INCIDENT_AFTER_MS;
    for (uint32_t i = 0; i < of->edge_count && out->symptom == EVIDENCE_NONE; i++) {
        if (of->edges[i].from == node &&
            of->edges[i].kind == INTERLOCK__GRAPH__V1__EDGE_KIND__EDGE_KIND_AFFECTED)
            out->symptom = root_cause_view_find(view, of->nodes[of->edges[i].to].name);
    }
    return STATUS_OK;
}

static status_code question_read(const root_cause_ask *self, const root_cause_request *request,
                                 const picture *of, const root_cause_view *view, root_cause_question *out,
                                 failure *why) {
    if (request->limit > ROOT_CAUSE_HYPOTHESES_MAX)
        return fail_field(why, "limit", "BAD_LIMIT", "at most %u hypotheses", ROOT_CAUSE_HYPOTHESES_MAX);
    status_code status = STATUS_OK;
    if (request->about_case == INTERLOCK__GRAPH__V1__ROOT_CAUSE_REQUEST__ABOUT_SYMPTOM)
        status = symptom_read(self, request->symptom, view, out, why);
    else if (request->about_case == INTERLOCK__GRAPH__V1__ROOT_CAUSE_REQUEST__ABOUT_INCIDENT)
        status = incident_read(self, request->incident, of, view, out, why);
    else
        status = fail_field(why, "about", "NO_SYMPTOM", "name an incident, or a symptom with its window");
    out->limit = request->limit;
    return status;
}

static status_code picture_take(root_cause_ask *self, history *of, instant at, picture *out, failure *why) {
    status_code status = self->past == NULL ? history_reader_open(&self->past, of, why) : STATUS_OK;
    return status == STATUS_OK ? picture_make(self->past, at, out, why) : status;
}

/* Changes as they stood when the window ended: what was changed since then is no cause. Where the history no
 * longer reaches that far, there are none. */
static status_code changes_take(root_cause_ask *self, history *of, int64_t to_ms, root_cause_view *view,
                                failure *why) {
    picture then = {0};
    instant at = {.valid_ms = to_ms, .recorded_ms = HISTORY_OPEN};
    status_code status = picture_take(self, of, at, &then, why);
    if (status == STATUS_OK)
        root_cause_view_take_changes(view, &then);
    picture_free(&then);
    return status == STATUS_OUT_OF_RANGE ? STATUS_OK : status;
}

/* Calls are taken as they are known now: declared today, they were true before as far as anybody knows. */
static status_code history_take(root_cause_ask *self, const root_cause_sources *sources,
                                const root_cause_request *request, root_cause_view *view,
                                root_cause_question *question, failure *why) {
    picture now = {0};
    status_code status =
        sources->past == NULL ? STATUS_OK : picture_take(self, sources->past, INSTANT_NOW, &now, why);
    if (status == STATUS_OK && sources->past != NULL)
        root_cause_view_take_calls(view, &now);
    if (status == STATUS_OK)
        status = question_read(self, request, sources->past == NULL ? NULL : &now, view, question, why);
    if (status == STATUS_OK && sources->past != NULL)
        status = changes_take(self, sources->past, question->to_ms, view, why);
    picture_free(&now);
    root_cause_view_finish(view);
    return status;
}

status_code root_cause_ask_now(root_cause_ask *self, const root_cause_request *request, arena *memory,
                               root_cause_response *out, failure *why) {
    uint64_t start_ns = chance_boot_ns(self->source);
    root_cause_sources sources = ingest_root_cause_sources(self->of);
    root_cause_view view = {0};
    root_cause_question question;
    root_cause_answer answer = {0};
    status_code status = root_cause_view_make(&view, &sources, why);
    if (status == STATUS_OK)
        status = history_take(self, &sources, request, &view, &question, why);
    if (status == STATUS_OK)
        status = root_cause_find(&view.it, &question, &root_cause_defaults, memory, &answer, why);
    if (status == STATUS_OK && !root_cause_reply(&view.it, &question, &answer, memory, out))
        status = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the answer");
    if (status == STATUS_OK) {
        out->revision = sources.graph->revision;
        atomic_fetch_add_explicit(&self->abstained, answer.abstained, memory_order_relaxed);
    }
    snapshot_release(sources.graph);
    root_cause_view_free(&view);
    histogram_observe_ns(&self->seconds, chance_boot_ns(self->source) - start_ns);
    return status;
}

/* ---- Single questions
 * -------------------------------------------------------------------------------------------------- */

status_code root_cause_ask_submit(root_cause_ask *self, rpc_call *call, failure *why) {
    pthread_mutex_lock(&self->lock);
    bool room = self->count < ROOT_CAUSE_QUEUE_MAX && !self->stopping;
    if (room) {
        self->queue[(self->first + self->count++) % ROOT_CAUSE_QUEUE_MAX] = call;
        pthread_cond_signal(&self->wake);
    }
    pthread_mutex_unlock(&self->lock);
    if (room)
        return STATUS_OK;
    fail(why, STATUS_RESOURCE_EXHAUSTED, "QUEUE_FULL", "%u questions wait already; ask again later",
         ROOT_CAUSE_QUEUE_MAX);
    if (why != NULL)
        why->retry_after_ms = 1000;
    return STATUS_RESOURCE_EXHAUSTED;
}

static rpc_call *question_take(root_cause_ask *self) {
    if (self->count == 0)
        return NULL;
    rpc_call *call = self->queue[self->first];
    self->first = (self->first + 1) % ROOT_CAUSE_QUEUE_MAX;
    self->count--;
    return call;
}

static void question_answer(root_cause_ask *self, rpc_call *call) {
    failure why = {0};
    status_code status = STATUS_CANCELLED;
    if (rpc_call_cancelled(call))
        fail(&why, STATUS_CANCELLED, "CANCELLED", "the client went away");
    else
        status =
            root_cause_ask_now(self, (const root_cause_request *)rpc_call_request(call), rpc_call_arena(call),
                               (root_cause_response *)rpc_call_response(call), &why);
    rpc_call_complete(call, status, &why);
}

/* ---- Watchers
 * ------------------------------------------------------------------------------------------------------------
 */

status_code root_cause_ask_watch(root_cause_ask *self, rpc_stream *stream,
                                 const watch_root_cause_request *request, failure *why) {
    uint32_t period_ms = request->period_ms == 0 ? PERIOD_DEFAULT_MS : request->period_ms;
    if (request->question == NULL)
        return fail_field(why, "question", "NO_SYMPTOM", "name an incident, or a symptom with its window");
    if (period_ms < PERIOD_LEAST_MS || period_ms > PERIOD_MOST_MS)
        return fail_field(why, "period_ms", "BAD_PERIOD", "between %u and %u milliseconds", PERIOD_LEAST_MS,
                          PERIOD_MOST_MS);
    size_t size = protobuf_c_message_get_packed_size(&request->question->base);
    uint8_t *packed = malloc(size + 1);
    if (packed == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the watcher");
    protobuf_c_message_pack(&request->question->base, packed);
    status_code status = fail(why, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_WATCHERS",
                              "%u watch already; try again later", ROOT_CAUSE_WATCHERS_MAX);
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < ROOT_CAUSE_WATCHERS_MAX && status != STATUS_OK; i++) {
        if (self->watchers[i].stream != NULL)
            continue;
        rpc_stream_ref(stream);
        self->watchers[i] = (cause_watcher){
            .stream = stream, .request = packed, .request_size = size, .period_ms = period_ms};
        status = STATUS_OK;
        pthread_cond_signal(&self->wake);
    }
    pthread_mutex_unlock(&self->lock);
    if (status != STATUS_OK)
        free(packed);
    return status;
}

void root_cause_ask_unwatch(root_cause_ask *self, rpc_stream *stream) {
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < ROOT_CAUSE_WATCHERS_MAX; i++) {
        if (self->watchers[i].stream == stream)
            self->watchers[i].over = true;
    }
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->lock);
}

/* The thread alone takes watchers away, so that one it looks at stays. */
static void watcher_let_go(root_cause_ask *self, cause_watcher *it) {
    rpc_stream *stream = it->stream;
    free(it->request);
    pthread_mutex_lock(&self->lock);
    *it = (cause_watcher){0};
    pthread_mutex_unlock(&self->lock);
    rpc_stream_unref(stream);
}

static uint64_t bytes_hash(const uint8_t *data, size_t size) {
    uint64_t hash = size + 1;
    for (size_t i = 0; i < size; i++)
        hash = mix64(hash, data[i]);
    return hash;
}

/* Of what is said; the window's end and the revision move on by themselves. */
static uint64_t answer_hash(const root_cause_response *answer, arena *memory) {
    root_cause_response copy = *answer;
    copy.symptom = NULL;
    copy.revision = 0;
    size_t size = protobuf_c_message_get_packed_size(&copy.base);
    uint8_t *packed = arena_alloc(memory, size + 1);
    if (packed == NULL)
        return 0;
    protobuf_c_message_pack(&copy.base, packed);
    return bytes_hash(packed, size);
}

static void watcher_send(cause_watcher *it, root_cause_response *answer, arena *memory) {
    uint64_t hash = answer_hash(answer, memory);
    if (it->version > 0 && hash == it->answer_hash)
        return;
    watch_root_cause_response message;
    interlock__graph__v1__watch_root_cause_response__init(&message);
    message.answer = answer;
    message.version = it->version + 1;
    if (rpc_stream_send(it->stream, &message.base) != STATUS_OK)
        return;
    it->version++;
    it->answer_hash = hash;
}

static void watcher_look(root_cause_ask *self, cause_watcher *it) {
    failure why = {0};
    arena_reset(&self->memory);
    root_cause_request *request =
        interlock__graph__v1__root_cause_request__unpack(NULL, it->request_size, it->request);
    root_cause_response answer;
    interlock__graph__v1__root_cause_response__init(&answer);
    status_code status =
        request == NULL ? STATUS_INTERNAL : root_cause_ask_now(self, request, &self->memory, &answer, &why);
    if (status == STATUS_OK)
        watcher_send(it, &answer, &self->memory);
    else if (status != STATUS_RESOURCE_EXHAUSTED)
        rpc_stream_finish(it->stream, status, &why);
    if (request != NULL)
        interlock__graph__v1__root_cause_request__free_unpacked(request, NULL);
    it->due_ms = chance_boot_ms(self->source) + it->period_ms;
}

static void watchers_serve(root_cause_ask *self) {
    for (size_t i = 0; i < ROOT_CAUSE_WATCHERS_MAX; i++) {
        cause_watcher *it = &self->watchers[i];
        pthread_mutex_lock(&self->lock);
        bool taken = it->stream != NULL;
        bool over = taken && it->over;
        pthread_mutex_unlock(&self->lock);
        if (over)
            watcher_let_go(self, it);
        else if (taken && chance_boot_ms(self->source) >= it->due_ms)
            watcher_look(self, it);
    }
}

/* ---- The thread
 * ------------------------------------------------------------------------------------------------------ */

static void wait_within_lock(root_cause_ask *self) {
    struct timespec until;
    int64_t at_ns = chance_wall_ns(self->source) + (int64_t)IDLE_MS * 1000000;
    until.tv_sec = at_ns / 1000000000;
    until.tv_nsec = at_ns % 1000000000;
    pthread_cond_timedwait(&self->wake, &self->lock, &until);
}

static void *ask_run(void *context) {
    root_cause_ask *self = context;
    bool stopping = false;
    while (!stopping) {
        pthread_mutex_lock(&self->lock);
        if (self->count == 0 && !self->stopping)
            wait_within_lock(self);
        rpc_call *call = question_take(self);
        stopping = self->stopping;
        pthread_mutex_unlock(&self->lock);
        if (call != NULL && !stopping)
            question_answer(self, call);
        else if (call != NULL)
            rpc_call_complete(call, STATUS_UNAVAILABLE,
                              &(failure){.code = STATUS_UNAVAILABLE,
                                         .reason = "SHUTTING_DOWN",
                                         .message = "the service is shutting down"});
        if (!stopping)
            watchers_serve(self);
    }
    return NULL;
}

/* ---- Life
 * ---------------------------------------------------------------------------------------------------------
 */

status_code root_cause_ask_open(root_cause_ask **out, ingest *of, const chance *source, failure *why) {
    root_cause_ask *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for root causes");
    self->of = of;
    self->source = source;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->wake, NULL);
    arena_init(&self->memory, 1U << 16, ROOT_CAUSE_ARENA_BYTES);
    *out = self;
    return STATUS_OK;
}

status_code root_cause_ask_start(root_cause_ask *self, failure *why) {
    if (pthread_create(&self->thread, NULL, ask_run, self) != 0)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD", "cannot start the thread of root causes");
    self->running = true;
    return STATUS_OK;
}

static void questions_refuse(root_cause_ask *self) {
    failure why = {0};
    fail(&why, STATUS_UNAVAILABLE, "SHUTTING_DOWN", "the service is shutting down");
    for (rpc_call *call = question_take(self); call != NULL; call = question_take(self))
        rpc_call_complete(call, STATUS_UNAVAILABLE, &why);
}

void root_cause_ask_stop(root_cause_ask *self) {
    if (self == NULL || !self->running)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->thread, NULL);
    self->running = false;
    questions_refuse(self);
    for (size_t i = 0; i < ROOT_CAUSE_WATCHERS_MAX; i++) {
        if (self->watchers[i].stream != NULL)
            watcher_let_go(self, &self->watchers[i]);
    }
}

void root_cause_ask_close(root_cause_ask *self) {
    if (self == NULL)
        return;
    root_cause_ask_stop(self);
    arena_free(&self->memory);
    history_reader_close(self->past);
    pthread_mutex_destroy(&self->lock);
    pthread_cond_destroy(&self->wake);
    free(self);
}

void root_cause_ask_write_metrics(root_cause_ask *self, buffer *out) {
    metrics_family(out, "interlock_graph_root_cause_seconds", "histogram", "Questions for root causes");
    metrics_histogram(out, "interlock_graph_root_cause_seconds", "", &self->seconds);
    metrics_family(out, "interlock_graph_root_cause_abstained_total", "counter",
                   "Questions for root causes without an answer");
    metrics_sample(out, "interlock_graph_root_cause_abstained_total", "",
                   (double)atomic_load(&self->abstained));
}
