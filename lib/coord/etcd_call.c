/* etcd as a backend: requests through its JSON gateway, endpoint after endpoint, until an answer or the
 * deadline.
 *
 * A transaction whose answer is lost is unknown. So every transaction makes a key of its own, its operation,
 * on condition that it is not there; a transaction that is sent again finds it and so learns what became of
 * the first. Before an answer "it did not happen" is given after a lost one, a fence makes the operation's
 * key, after which the transaction can never happen. Operations hang on a lease that is replaced often, so
 * that they go away; one whose lease has ended can do nothing either, because a put with a dead lease fails
 * (docs/decisions/0003-unknown-transactions.md). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "etcd_internal.h"

#define CALLS 32U /* at once: etcd is fastest with about as many, and their connections are kept */
#define PAUSE_MS 25U
#define OPERATION_LEASE_S 120U
#define OPERATION_LEASE_FRESH_MS 30000U /* then another is granted for what comes */
#define OPERATION_GRANT_MS 3000U
#define OPERATION_BYTES (COORD_PREFIX_BYTES + 40U)

typedef enum call_state { CALL_WAITS, CALL_SENT } call_state; /* for its due time or a lease; for an answer */

/* What is answered once a fence says that the transaction will never happen. */
typedef enum call_verdict { VERDICT_TIMED_OUT, VERDICT_COMPARES_FAILED, VERDICT_REFUSED } call_verdict;

struct etcd_call {
    coord_task answered; /* first: the task is the call */
    etcd_call *next;
    etcd *owner;
    coord_request *request; /* NULL: a grant of the operations' lease */
    call_state state;
    uint64_t due_ms, deadline_ms;
    uint32_t budget_ms;
    size_t endpoint;
    size_t refused; /* connections in a row */
    /* Of a transaction. */
    bool unknown; /* a request was sent whose fate is not known */
    bool fencing, renewed;
    call_verdict verdict;
    failure refusal;
    char operation[OPERATION_BYTES];
    int64_t operation_lease;
    /* The HTTP client's thread fills these before it posts the task. */
    int http_status;
    buffer answer;
    failure why;
};

/* ---- The life of a call ---------------------------------------------------------------------- */

static bool is_txn(const etcd_call *self) {
    return self->request != NULL && self->request->kind == COORD_REQUEST_TXN;
}

static void call_free(etcd_call *self) {
    etcd *owner = self->owner;
    for (etcd_call **link = &owner->calls; *link != NULL; link = &(*link)->next)
        if (*link == self) {
            *link = self->next;
            break;
        }
    owner->call_count--;
    buffer_free(&self->answer);
    free(self);
}

/* Without a lease nothing was sent: the transactions that wait for one end as the grant did. */
static void fail_waiting(etcd *self, const coord_result *result);

static void call_end(etcd_call *self, coord_result *result) {
    etcd *owner = self->owner;
    if (self->request != NULL) {
        coord_request_answer(owner->owner, self->request, result);
    } else {
        owner->granting = false;
        if (result->code != STATUS_OK)
            fail_waiting(owner, result);
    }
    call_free(self);
}

static void call_end_failed(etcd_call *self, status_code code, const failure *why) {
    coord_result result = {.code = code, .why = why};
    call_end(self, &result);
}

static void call_answered(coord_task *task);
static void call_send(etcd_call *self);

static etcd_call *call_make(etcd *owner, coord_request *request, uint64_t deadline_ms) {
    etcd_call *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    uint64_t now = etcd_now_ms(owner);
    self->answered.run = call_answered;
    self->owner = owner;
    self->request = request;
    self->due_ms = now;
    self->deadline_ms = deadline_ms;
    self->budget_ms = deadline_ms > now ? (uint32_t)(deadline_ms - now) : 0;
    buffer_init(&self->answer, ETCD_ANSWER_BYTES);
    self->next = owner->calls;
    owner->calls = self;
    owner->call_count++;
    return self;
}

/* ---- The lease of operations ----------------------------------------------------------------- */

static void grant_operation_lease(etcd *self) {
    if (self->granting)
        return;
    etcd_call *call = call_make(self, NULL, etcd_now_ms(self) + OPERATION_GRANT_MS);
    if (call == NULL)
        return;
    self->granting = true;
    call_send(call);
}

static void fail_waiting(etcd *self, const coord_result *result) {
    for (etcd_call *each = self->calls, *next; each != NULL; each = next) {
        next = each->next;
        if (is_txn(each) && each->state == CALL_WAITS && each->operation_lease == 0)
            call_end_failed(each, result->code, result->why);
    }
}

/* Whether a new operation may hang on the lease: half of its life is left for finding out what became of it.
 */
static bool have_operation_lease(etcd *self) {
    uint64_t age = etcd_now_ms(self) - self->operation_lease_ms;
    bool usable = self->operation_lease != 0 && age < OPERATION_LEASE_S * 1000U / 2;
    if (!usable || age > OPERATION_LEASE_FRESH_MS)
        grant_operation_lease(self);
    return usable;
}

/* Names the transaction; it keeps name and lease for all its life. False: wait for a lease. */
static bool name_operation(etcd_call *self) {
    etcd *owner = self->owner;
    uint8_t random[16];
    char text[33];
    if (self->operation_lease != 0)
        return true;
    if (!have_operation_lease(owner))
        return false;
    chance_random(owner->source, random, sizeof random);
    hex_encode(bytes_of(random, sizeof random), text);
    snprintf(self->operation, sizeof self->operation, "%s" COORD_RESERVED "op/%s", owner->prefix, text);
    self->operation_lease = owner->operation_lease;
    return true;
}

/* ---- Sending --------------------------------------------------------------------------------- */

static const char *call_body(const etcd_call *self, buffer *out) {
    const coord_request *request = self->request;
    if (request == NULL) {
        etcd_wire_grant(out, OPERATION_LEASE_S);
        return "/v3/lease/grant";
    }
    switch (request->kind) {
    case COORD_REQUEST_GET:
        etcd_wire_range(out, request->start, request->end);
        return "/v3/kv/range";
    case COORD_REQUEST_TXN:
        if (self->fencing)
            etcd_wire_fence(out, bytes_of_text(self->operation), self->operation_lease);
        else
            etcd_wire_txn(out, request, bytes_of_text(self->operation), self->operation_lease);
        return "/v3/kv/txn";
    case COORD_REQUEST_GRANT:
        etcd_wire_grant(out, (request->ttl_ms + 999U) / 1000U);
        return "/v3/lease/grant";
    case COORD_REQUEST_KEEPALIVE:
        etcd_wire_lease(out, request->lease);
        return "/v3/lease/keepalive";
    default:
        etcd_wire_lease(out, request->lease);
        return "/v3/lease/revoke";
    }
}

/* On the HTTP client's thread. */
static void on_answer(void *context, int http_status, bytes answer, const failure *why) {
    etcd_call *self = context;
    self->http_status = http_status;
    self->why.code = STATUS_OK;
    if (why != NULL)
        self->why = *why;
    buffer_clear(&self->answer);
    buffer_append(&self->answer, answer.data, answer.size);
    if (!buffer_ok(&self->answer)) {
        self->http_status = 0;
        fail(&self->why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for etcd's answer");
    }
    coord_post(self->owner->owner, &self->answered);
}

/* What this attempt may take: something is kept for another endpoint, and for finding out after a lost
 * answer. */
static uint32_t attempt_timeout(const etcd_call *self, uint64_t now) {
    uint64_t left = self->deadline_ms > now ? self->deadline_ms - now : 1;
    bool again = is_txn(self) ? !self->fencing : self->owner->endpoint_count > 1;
    return (uint32_t)(again && left > 1 ? left / 2 : left);
}

static void call_send(etcd_call *self) {
    etcd *owner = self->owner;
    char url[ETCD_URL_BYTES + 32];
    buffer body;
    failure why = {0};
    if (is_txn(self) && !name_operation(self))
        return; /* the next tick after a lease has come */
    self->endpoint = owner->preferred;
    buffer_init(&body, ETCD_REQUEST_BYTES);
    etcd_url(owner, self->endpoint, call_body(self, &body), url);
    http_exchange exchange = {.url = url,
                              .body = buffer_bytes(&body),
                              .timeout_ms = attempt_timeout(self, etcd_now_ms(owner)),
                              .limit = ETCD_ANSWER_BYTES,
                              .done = on_answer,
                              .context = self};
    self->state = CALL_SENT;
    status_code status = STATUS_RESOURCE_EXHAUSTED;
    if (buffer_ok(&body))
        status = http_client_send(owner->client, &exchange, NULL, &why);
    buffer_free(&body);
    if (status == STATUS_OK)
        return;
    self->state = CALL_WAITS;
    self->due_ms = etcd_now_ms(owner) + PAUSE_MS;
}

/* ---- Giving up and trying again -------------------------------------------------------------- */

static void call_give_up(etcd_call *self) {
    failure why = {0};
    if (is_txn(self) && self->unknown)
        fail(&why, STATUS_UNAVAILABLE, "UNKNOWN_RESULT",
             "etcd did not say within %u ms what became of the transaction; read before you repeat it",
             self->budget_ms);
    else if (self->why.code == STATUS_UNAVAILABLE)
        why = self->why;
    else
        fail(&why, STATUS_DEADLINE_EXCEEDED, "TIMED_OUT", "etcd did not answer within %u ms",
             self->budget_ms);
    call_end_failed(self, why.code, &why);
}

static void call_unreachable(etcd_call *self) {
    failure why = {0};
    fail(&why, STATUS_UNAVAILABLE, "COORD_UNREACHABLE",
         "none of etcd's %zu endpoints takes a connection (%.200s)", self->owner->endpoint_count,
         self->why.message);
    call_end_failed(self, why.code, &why);
}

/* self->why says what went wrong. */
static void call_again(etcd_call *self) {
    etcd *owner = self->owner;
    uint64_t now = etcd_now_ms(owner);
    uint64_t left = self->deadline_ms > now ? self->deadline_ms - now : 0;
    if (owner->preferred == self->endpoint)
        owner->preferred = (self->endpoint + 1) % owner->endpoint_count;
    if (!self->unknown && self->refused >= owner->endpoint_count) {
        call_unreachable(self);
        return;
    }
    if (left <= 1) {
        call_give_up(self);
        return;
    }
    if (is_txn(self) && self->unknown && left <= self->budget_ms / 4)
        self->fencing = true;
    self->state = CALL_WAITS;
    self->due_ms = now + (left / 4 < PAUSE_MS ? left / 4 : PAUSE_MS);
}

/* A definite refusal; but an earlier attempt may still be on its way, and then it is made impossible first.
 */
static void call_refuse(etcd_call *self, call_verdict verdict) {
    if (is_txn(self) && self->unknown && !self->fencing) {
        self->verdict = verdict;
        self->refusal = self->why;
        self->fencing = true;
        self->state = CALL_WAITS;
        self->due_ms = etcd_now_ms(self->owner);
        return;
    }
    if (self->fencing) {
        call_give_up(self); /* the fence itself was refused: its lease is over, or etcd is full */
        return;
    }
    if (verdict == VERDICT_COMPARES_FAILED)
        return;
    call_end_failed(self, self->why.code, &self->why);
}

/* The user's lease or the operations' is dead; which, etcd does not say: with a new one of ours it was the
 * user's. */
static void call_lease_not_found(etcd_call *self) {
    if (!is_txn(self) || self->unknown || self->renewed) {
        if (self->request != NULL && self->request->kind == COORD_REQUEST_REVOKE && self->unknown) {
            coord_result result = {0}; /* an earlier attempt has revoked it */
            call_end(self, &result);
            return;
        }
        call_refuse(self, VERDICT_REFUSED);
        return;
    }
    if (self->owner->operation_lease == self->operation_lease)
        self->owner->operation_lease = 0;
    self->renewed = true;
    self->operation_lease = 0;
    self->state = CALL_WAITS;
    self->due_ms = etcd_now_ms(self->owner);
}

/* ---- Answers --------------------------------------------------------------------------------- */

static void txn_done(etcd_call *self, bool succeeded, int64_t revision) {
    coord_result result = {.succeeded = succeeded, .revision = revision};
    call_end(self, &result);
}

/* The fence stands: the transaction has not happened and will not. */
static void txn_never(etcd_call *self, int64_t revision) {
    failure why = {0};
    switch (self->verdict) {
    case VERDICT_COMPARES_FAILED:
        txn_done(self, false, revision);
        return;
    case VERDICT_REFUSED:
        call_end_failed(self, self->refusal.code, &self->refusal);
        return;
    case VERDICT_TIMED_OUT:
        fail(&why, STATUS_DEADLINE_EXCEEDED, "TIMED_OUT",
             "etcd did not answer in time; the transaction has not happened and will not");
        call_end_failed(self, why.code, &why);
    }
}

static void txn_answered(etcd_call *self, const etcd_answer *answer) {
    bool exists = answer->count == 1;
    bool happened = exists && bytes_equal(answer->kvs[0].value, bytes_of_text("done"));
    if (answer->succeeded && self->fencing)
        txn_never(self, answer->revision);
    else if (answer->succeeded)
        txn_done(self, true, answer->revision);
    else if (happened)
        txn_done(self, true, answer->kvs[0].mod_revision);
    else if (exists)
        txn_never(self, answer->revision); /* an earlier send of the fence */
    else if (self->unknown && !self->fencing)
        call_refuse(self, VERDICT_COMPARES_FAILED);
    else if (self->fencing)
        call_again(self); /* neither made nor there: not an answer */
    else
        txn_done(self, false, answer->revision);
}

static void lease_granted(etcd_call *self, const etcd_answer *answer) {
    etcd *owner = self->owner;
    owner->operation_lease = answer->lease;
    owner->operation_lease_ms =
        self->deadline_ms - OPERATION_GRANT_MS; /* when it was asked for, at the latest */
    coord_result result = {0};
    call_end(self, &result);
}

static void keepalive_answered(etcd_call *self, const etcd_answer *answer) {
    if (answer->ttl_s > 0) {
        coord_result result = {
            .revision = answer->revision, .lease = answer->lease, .ttl_ms = answer->ttl_s * 1000};
        call_end(self, &result);
        return;
    }
    failure why = {0};
    fail(&why, STATUS_NOT_FOUND, "LEASE_NOT_FOUND", "lease %" PRId64 " has expired or never was",
         self->request->lease);
    call_end_failed(self, why.code, &why);
}

static void range_answered(etcd_call *self, const etcd_answer *answer) {
    failure why = {0};
    if (answer->more) {
        fail(&why, STATUS_RESOURCE_EXHAUSTED, "RANGE_TOO_LARGE",
             "the answer has more than %u keys; ask for a longer prefix", COORD_RANGE_MAX);
        call_end_failed(self, why.code, &why);
        return;
    }
    coord_result result = {.revision = answer->revision, .kvs = answer->kvs, .count = answer->count};
    call_end(self, &result);
}

static void call_succeeded(etcd_call *self, const etcd_answer *answer) {
    coord_result result = {.revision = answer->revision};
    if (self->request == NULL) {
        lease_granted(self, answer);
        return;
    }
    switch (self->request->kind) {
    case COORD_REQUEST_GET:
        range_answered(self, answer);
        return;
    case COORD_REQUEST_TXN:
        txn_answered(self, answer);
        return;
    case COORD_REQUEST_KEEPALIVE:
        keepalive_answered(self, answer);
        return;
    case COORD_REQUEST_GRANT:
        result.lease = answer->lease;
        result.ttl_ms = answer->ttl_s * 1000;
        break;
    default:
        break;
    }
    call_end(self, &result);
}

static void call_parse(etcd_call *self) {
    arena memory;
    etcd_answer answer;
    arena_init(&memory, 4096, ETCD_ANSWER_BYTES);
    status_code status = etcd_wire_answer(buffer_bytes(&self->answer), &memory, &answer, &self->why);
    if (status == STATUS_OK) {
        call_succeeded(self, &answer);
    } else {
        self->unknown = true;
        call_again(self);
    }
    arena_free(&memory);
}

static void call_error(etcd_call *self) {
    bool definite = false;
    status_code status =
        etcd_wire_error(self->http_status, buffer_bytes(&self->answer), &definite, &self->why);
    if (status == STATUS_NOT_FOUND) {
        call_lease_not_found(self);
    } else if (definite) {
        call_refuse(self, VERDICT_REFUSED);
    } else {
        self->unknown = true;
        call_again(self);
    }
}

static void call_lost(etcd_call *self) {
    if (self->why.code == STATUS_RESOURCE_EXHAUSTED && !is_txn(self)) {
        call_end_failed(self, self->why.code, &self->why); /* too large an answer */
        return;
    }
    bool sent = strcmp(self->why.reason, "NOT_CONNECTED") != 0;
    self->refused = sent ? 0 : self->refused + 1;
    self->unknown = self->unknown || sent;
    call_again(self);
}

static void call_answered(coord_task *task) {
    etcd_call *self = (etcd_call *)task;
    if (self->owner->closing)
        call_free(self);
    else if (self->http_status == 200)
        call_parse(self);
    else if (self->http_status != 0)
        call_error(self);
    else
        call_lost(self);
}

/* ---- What the backend calls ------------------------------------------------------------------ */

bool etcd_call_ready(void *context) {
    const etcd *self = context;
    return self->call_count < CALLS;
}

void etcd_call_submit(void *context, coord_request *request) {
    etcd *self = context;
    etcd_call *call = call_make(self, request, request->deadline_ms);
    if (call != NULL) {
        call_send(call);
        return;
    }
    failure why = {0};
    fail(&why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a request to etcd");
    coord_request_fail(self->owner, request, why.code, &why);
}

/* Sends what is due. One at a time from the start, because a call's end changes the list. */
static bool send_one_due(etcd *self, uint64_t now) {
    for (etcd_call *each = self->calls; each != NULL; each = each->next) {
        if (each->state != CALL_WAITS)
            continue;
        if (each->deadline_ms <= now) {
            call_give_up(each);
            return true;
        }
        if (each->due_ms > now)
            continue;
        call_send(each);
        if (each->state == CALL_SENT)
            return true;
    }
    return false;
}

uint64_t etcd_call_tick(etcd *self) {
    uint64_t now = etcd_now_ms(self), wake = UINT64_MAX;
    while (send_one_due(self, now))
        ;
    for (const etcd_call *each = self->calls; each != NULL; each = each->next) {
        if (each->state != CALL_WAITS)
            continue;
        /* What is due and not sent waits for a lease, whose answer wakes the thread. */
        uint64_t next = each->due_ms > now ? each->due_ms : each->deadline_ms;
        wake = next < wake ? next : wake;
    }
    return wake;
}

void etcd_call_cancel_all(etcd *self) {
    failure why = {0};
    fail(&why, STATUS_CANCELLED, "CANCELLED", "coordination was closed before etcd answered");
    for (etcd_call *each = self->calls, *next; each != NULL; each = next) {
        next = each->next;
        if (each->request != NULL)
            coord_request_fail(self->owner, each->request, STATUS_CANCELLED, &why);
        each->request = NULL;
        if (each->state == CALL_WAITS)
            call_free(each);
    }
}
