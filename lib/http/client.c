/* The HTTP client: one thread that owns a curl multi handle, 256 slots, and a queue that others put slots
 * into. A request's handle is a ticket (slot and generation), so that cancelling one that has just ended
 * touches nothing. */
#include "http/client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/chance.h"

#define SLOTS 256U
#define DEFAULT_LIMIT_BYTES (1U << 20)
#define BODY_LIMIT_BYTES (8U << 20)
#define CONNECT_TIMEOUT_MS 5000L
#define KEPT_CONNECTIONS 64L
#define LONGEST_SLEEP_MS 60000U

typedef enum slot_state { SLOT_FREE, SLOT_QUEUED, SLOT_ACTIVE } slot_state;

typedef struct slot {
    http_client *client;
    slot_state state;    /* under the client's lock */
    bool cancelled;      /* under the client's lock */
    uint64_t generation; /* under the client's lock */
    /* The rest belongs to whoever made the request until it is queued, then to the thread. */
    http_exchange exchange;
    char *url;
    void *body;
    CURL *easy; /* kept for the next request */
    buffer answer;
    failure why;
    bool ended; /* a piece asked for the end */
    uint64_t heard_ms;
} slot;

struct http_client {
    pthread_t thread;
    CURLM *multi;
    struct curl_slist *headers;
    pthread_mutex_t lock; /* of the states above and of stopping */
    bool stopping;
    slot slots[SLOTS];
};

static uint64_t now_ms(void) {
    return chance_boot_ms(chance_system());
}

/* ---- Tickets --------------------------------------------------------------------------------- */

static http_request *ticket_make(size_t index, uint64_t generation) {
    return (http_request *)(uintptr_t)((generation << 8U) | index);
}

/* Under the lock: the slot that the ticket means, or NULL when that request is over. */
static slot *ticket_slot(http_client *self, const http_request *ticket) {
    uintptr_t number = (uintptr_t)ticket;
    slot *found = &self->slots[number & 0xffU];
    return found->state != SLOT_FREE && found->generation == number >> 8U ? found : NULL;
}

/* ---- Receiving ------------------------------------------------------------------------------- */

static bool collect(slot *self, const char *data, size_t size) {
    buffer_append(&self->answer, data, size);
    if (buffer_ok(&self->answer))
        return true;
    fail(&self->why, STATUS_RESOURCE_EXHAUSTED, "ANSWER_TOO_LARGE", "%s answered with more than %zu bytes",
         self->url, self->answer.limit);
    return false;
}

static bool pass_on(slot *self, const char *data, size_t size) {
    size_t limit = self->answer.limit;
    for (size_t at = 0; at < size; at += limit) {
        size_t piece = size - at < limit ? size - at : limit;
        if (!self->exchange.piece(self->exchange.context, bytes_of(data + at, piece))) {
            self->ended = true;
            return false;
        }
    }
    return true;
}

static size_t on_data(char *data, size_t unit, size_t count, void *context) {
    slot *self = context;
    long http_status = 0;
    self->heard_ms = now_ms();
    curl_easy_getinfo(self->easy, CURLINFO_RESPONSE_CODE, &http_status);
    /* An error's body is no part of the stream. */
    bool streamed = self->exchange.piece != NULL && http_status / 100 == 2;
    bool taken = streamed ? pass_on(self, data, unit * count) : collect(self, data, unit * count);
    return taken ? unit * count : CURL_WRITEFUNC_ERROR;
}

/* ---- The life of a request, on the client's thread ------------------------------------------- */

static void slot_release(slot *self) {
    http_client *client = self->client;
    free(self->url);
    free(self->body);
    buffer_free(&self->answer);
    self->url = NULL;
    self->body = NULL;
    pthread_mutex_lock(&client->lock);
    self->state = SLOT_FREE;
    self->cancelled = false;
    pthread_mutex_unlock(&client->lock);
}

/* Calls `done`: with the answer when self->why is empty. */
static void slot_finish(slot *self, int http_status) {
    bool failed = self->why.code != STATUS_OK;
    self->exchange.done(self->exchange.context, failed ? 0 : http_status,
                        failed ? bytes_of(NULL, 0) : buffer_bytes(&self->answer), failed ? &self->why : NULL);
    slot_release(self);
}

static void slot_drop(slot *self, status_code code, const char *reason, const char *what) {
    fail(&self->why, code, reason, "%s: %s", self->url, what);
    curl_multi_remove_handle(self->client->multi, self->easy);
    slot_finish(self, 0);
}

static void describe_error(slot *self, CURLcode code) {
    const char *text = curl_easy_strerror(code);
    long sent = 0;
    curl_easy_getinfo(self->easy, CURLINFO_REQUEST_SIZE, &sent);
    /* So does curl call an answer that is not HTTP. */
    if (code == CURLE_UNSUPPORTED_PROTOCOL && sent > 0)
        code = CURLE_WEIRD_SERVER_REPLY;
    switch (code) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        fail(&self->why, STATUS_UNAVAILABLE, "NOT_CONNECTED", "%s: no connection (%s)", self->url, text);
        return;
    case CURLE_OPERATION_TIMEDOUT:
        fail(&self->why, STATUS_DEADLINE_EXCEEDED, "TIMED_OUT", "%s: no answer within %u ms", self->url,
             self->exchange.timeout_ms != 0 ? self->exchange.timeout_ms : (unsigned)CONNECT_TIMEOUT_MS);
        return;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        fail(&self->why, STATUS_INVALID_ARGUMENT, "BAD_URL", "%s: %s", self->url, text);
        return;
    case CURLE_OUT_OF_MEMORY:
        fail(&self->why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "%s: %s", self->url, text);
        return;
    default:
        fail(&self->why, STATUS_UNAVAILABLE, "CONNECTION_LOST", "%s: %s", self->url, text);
    }
}

static void slot_complete(slot *self, CURLcode code) {
    long http_status = 0;
    curl_easy_getinfo(self->easy, CURLINFO_RESPONSE_CODE, &http_status);
    curl_multi_remove_handle(self->client->multi, self->easy);
    if (code != CURLE_OK && !self->ended && self->why.code == STATUS_OK)
        describe_error(self, code);
    slot_finish(self, (int)http_status);
}

static void slot_configure(slot *self) {
    CURL *easy = self->easy;
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, self->url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, self);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, self);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "interlock/" INTERLOCK_VERSION);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)self->exchange.timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    if (self->exchange.body.size == 0)
        return;
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, self->body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)self->exchange.body.size);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, self->client->headers);
}

static void slot_start(slot *self) {
    self->heard_ms = now_ms();
    if (self->easy == NULL)
        self->easy = curl_easy_init();
    if (self->easy != NULL) {
        slot_configure(self);
        if (curl_multi_add_handle(self->client->multi, self->easy) == CURLM_OK)
            return;
    }
    fail(&self->why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "%s: no memory for the request", self->url);
    slot_finish(self, 0);
}

/* ---- The thread ------------------------------------------------------------------------------ */

/* Starts what is queued and ends what is cancelled (when stopping: everything). False when the client stops.
 */
static bool take_orders(http_client *self) {
    slot *start[SLOTS], *cancel[SLOTS];
    size_t starts = 0, cancels = 0;
    pthread_mutex_lock(&self->lock);
    bool stopping = self->stopping;
    for (size_t i = 0; i < SLOTS; i++) {
        slot *each = &self->slots[i];
        if (each->state == SLOT_FREE)
            continue;
        if (each->cancelled || stopping)
            cancel[cancels++] = each;
        else if (each->state == SLOT_QUEUED) {
            each->state = SLOT_ACTIVE;
            start[starts++] = each;
        }
    }
    pthread_mutex_unlock(&self->lock);
    for (size_t i = 0; i < cancels; i++)
        slot_drop(cancel[i], STATUS_CANCELLED, "CANCELLED", stopping ? "the client stops" : "cancelled");
    for (size_t i = 0; i < starts; i++)
        slot_start(start[i]);
    return !stopping;
}

static void take_results(http_client *self) {
    int left = 0;
    for (CURLMsg *message; (message = curl_multi_info_read(self->multi, &left)) != NULL;) {
        if (message->msg != CURLMSG_DONE)
            continue;
        slot *ended = NULL;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&ended);
        slot_complete(ended, code);
    }
}

static size_t active_slots(http_client *self, slot **out) {
    size_t count = 0;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < SLOTS; i++)
        if (self->slots[i].state == SLOT_ACTIVE)
            out[count++] = &self->slots[i];
    pthread_mutex_unlock(&self->lock);
    return count;
}

/* Ends streams that have been silent for too long; returns how long the thread may sleep. */
static uint32_t check_silence(http_client *self) {
    slot *active[SLOTS];
    size_t count = active_slots(self, active);
    uint64_t now = now_ms();
    uint32_t sleep_ms = LONGEST_SLEEP_MS;
    for (size_t i = 0; i < count; i++) {
        if (active[i]->exchange.silence_ms == 0)
            continue;
        uint64_t end = active[i]->heard_ms + active[i]->exchange.silence_ms;
        if (now >= end)
            slot_drop(active[i], STATUS_DEADLINE_EXCEEDED, "SILENT", "the stream fell silent");
        else if (end - now < sleep_ms)
            sleep_ms = (uint32_t)(end - now);
    }
    return sleep_ms;
}

static void *run(void *context) {
    http_client *self = context;
    while (take_orders(self)) {
        int running = 0;
        curl_multi_perform(self->multi, &running);
        take_results(self);
        curl_multi_poll(self->multi, NULL, 0, (int)check_silence(self), NULL);
    }
    return NULL;
}

/* ---- Public ---------------------------------------------------------------------------------- */

static void initialise_curl(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void client_free(http_client *self) {
    for (size_t i = 0; i < SLOTS; i++)
        curl_easy_cleanup(self->slots[i].easy);
    curl_multi_cleanup(self->multi);
    curl_slist_free_all(self->headers);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

/* Signals are for the process's own threads. */
static int start_thread(http_client *self) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&self->thread, NULL, run, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

status_code http_client_start(http_client **out, failure *why) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialise_curl);
    http_client *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for an HTTP client");
    pthread_mutex_init(&self->lock, NULL);
    for (size_t i = 0; i < SLOTS; i++)
        self->slots[i].client = self;
    self->multi = curl_multi_init();
    self->headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (self->headers != NULL)
        curl_slist_append(self->headers, "Expect:"); /* no round trip before a body */
    if (self->multi != NULL)
        curl_multi_setopt(self->multi, CURLMOPT_MAXCONNECTS, KEPT_CONNECTIONS);
    if (self->multi == NULL || self->headers == NULL || start_thread(self) != 0) {
        client_free(self);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_THREAD", "no thread or memory for an HTTP client");
    }
    *out = self;
    return STATUS_OK;
}

void http_client_stop(http_client *self) {
    if (self == NULL)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_mutex_unlock(&self->lock);
    curl_multi_wakeup(self->multi);
    pthread_join(self->thread, NULL);
    client_free(self);
}

static status_code slot_prepare(slot *self, const http_exchange *exchange, failure *why) {
    self->exchange = *exchange;
    self->why = (failure){0};
    self->ended = false;
    self->url = strdup(exchange->url);
    self->body = exchange->body.size == 0 ? NULL : malloc(exchange->body.size);
    buffer_init(&self->answer, exchange->limit == 0 ? DEFAULT_LIMIT_BYTES : exchange->limit);
    if (self->url == NULL || (exchange->body.size != 0 && self->body == NULL)) {
        free(self->url);
        free(self->body);
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a request to %s",
                    exchange->url);
    }
    if (self->body != NULL)
        memcpy(self->body, exchange->body.data, exchange->body.size);
    return STATUS_OK;
}

/* Under the lock. */
static status_code enqueue(http_client *self, const http_exchange *exchange, http_request **request,
                           failure *why) {
    if (self->stopping)
        return fail(why, STATUS_CANCELLED, "CANCELLED", "%s: the client stops", exchange->url);
    size_t index = 0;
    while (index < SLOTS && self->slots[index].state != SLOT_FREE)
        index++;
    if (index == SLOTS)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_REQUESTS", "%s: %u requests are open already",
                    exchange->url, SLOTS);
    slot *taken = &self->slots[index];
    status_code status = slot_prepare(taken, exchange, why);
    if (status != STATUS_OK)
        return status;
    taken->generation++;
    taken->state = SLOT_QUEUED;
    if (request != NULL)
        *request = ticket_make(index, taken->generation);
    return STATUS_OK;
}

status_code http_client_send(http_client *self, const http_exchange *exchange, http_request **request,
                             failure *why) {
    if (exchange->body.size > BODY_LIMIT_BYTES)
        return fail(why, STATUS_INVALID_ARGUMENT, "BODY_TOO_LARGE", "a body has at most %u bytes",
                    BODY_LIMIT_BYTES);
    pthread_mutex_lock(&self->lock);
    status_code status = enqueue(self, exchange, request, why);
    pthread_mutex_unlock(&self->lock);
    if (status == STATUS_OK)
        curl_multi_wakeup(self->multi);
    return status;
}

void http_client_cancel(http_client *self, http_request *request) {
    pthread_mutex_lock(&self->lock);
    slot *found = ticket_slot(self, request);
    if (found != NULL)
        found->cancelled = true;
    pthread_mutex_unlock(&self->lock);
    if (found != NULL)
        curl_multi_wakeup(self->multi);
}
