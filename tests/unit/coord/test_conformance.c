/* One suite, two backends: the embedded twin must answer as etcd does. Every case runs against both, with
 * keys of its own. */
#include "base/arena.h"
#include "coord/coord.h" /* before cmocka.h, whose macro fail() would hide ours */
#include "http/client.h"
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backends.inc.c"

#include <pthread.h>

#define TIMEOUT_MS 10000U
#define PATIENCE_MS 15000U

/* ---- Short forms ----------------------------------------------------------------------------- */

typedef struct world {
    backend *where;
    coord *handle;
    arena memory;
} world;

static coord_op put_op(const char *key, const char *value) {
    return (coord_op){.kind = COORD_PUT, .key = key, .value = bytes_of_text(value)};
}

static coord_op delete_op(const char *key) {
    return (coord_op){.kind = COORD_DELETE, .key = key};
}

static bool txn(coord *handle, const coord_compare *compares, size_t compare_count, const coord_op *ops,
                size_t op_count, int64_t *revision) {
    bool succeeded = false;
    failure why = {0};
    if (coord_txn_wait(handle, compares, compare_count, ops, op_count, TIMEOUT_MS, &succeeded, revision,
                       &why) != STATUS_OK)
        fail_msg("%s: %s", why.reason, why.message);
    return succeeded;
}

static int64_t put(coord *handle, const char *key, const char *value) {
    int64_t revision = 0;
    coord_op op = put_op(key, value);
    assert_true(txn(handle, NULL, 0, &op, 1, &revision));
    return revision;
}

static coord_result get(world *self, const char *key, bool prefix) {
    coord_result result = {0};
    failure why = {0};
    if (coord_get_wait(self->handle, key, prefix, TIMEOUT_MS, &self->memory, &result, &why) != STATUS_OK)
        fail_msg("%s: %s", why.reason, why.message);
    return result;
}

static void check_value(world *self, const char *key, const char *value) {
    coord_result result = get(self, key, false);
    assert_int_equal(result.count, value == NULL ? 0 : 1);
    if (value != NULL)
        assert_true(bytes_equal(result.kvs[0].value, bytes_of_text(value)));
}

static int64_t grant(coord *handle, uint32_t ttl_ms) {
    int64_t lease = 0;
    failure why = {0};
    assert_int_equal(coord_lease_grant_wait(handle, ttl_ms, TIMEOUT_MS, &lease, &why), STATUS_OK);
    assert_true(lease > 0);
    return lease;
}

/* ---- Collecting what callbacks say ----------------------------------------------------------- */

typedef struct seen_event {
    bool deleted;
    char key[64];
    char value[64];
    int64_t mod_revision, create_revision, version;
} seen_event;

enum { MOST_EVENTS = 1024 };

typedef struct collector {
    pthread_mutex_t lock;
    seen_event events[MOST_EVENTS];
    size_t count;
    int64_t revision;
    int compacted;
    /* of requests */
    size_t answers;
    status_code code;
    char reason[32];
    int64_t ttl_ms, answer_revision;
    bool succeeded;
} collector;

static void collector_init(collector *self) {
    memset(self, 0, sizeof *self);
    pthread_mutex_init(&self->lock, NULL);
}

static void on_events(void *context, const coord_event *events, size_t count, int64_t revision,
                      bool compacted) {
    collector *self = context;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < count && self->count < MOST_EVENTS; i++) {
        seen_event *seen = &self->events[self->count++];
        seen->deleted = events[i].deleted;
        snprintf(seen->key, sizeof seen->key, "%s", events[i].kv.key);
        snprintf(seen->value, sizeof seen->value, "%.*s", (int)events[i].kv.value.size,
                 events[i].kv.value.size == 0 ? "" : (const char *)events[i].kv.value.data);
        seen->mod_revision = events[i].kv.mod_revision;
        seen->create_revision = events[i].kv.create_revision;
        seen->version = events[i].kv.version;
    }
    self->revision = revision;
    self->compacted += compacted ? 1 : 0;
    pthread_mutex_unlock(&self->lock);
}

static void on_result(void *context, const coord_result *result) {
    collector *self = context;
    pthread_mutex_lock(&self->lock);
    self->answers++;
    self->code = result->code;
    self->ttl_ms = result->ttl_ms;
    self->succeeded = result->succeeded;
    self->answer_revision = result->revision;
    snprintf(self->reason, sizeof self->reason, "%s", result->why == NULL ? "" : result->why->reason);
    pthread_mutex_unlock(&self->lock);
}

static bool has_events(collector *self, size_t wanted) {
    return self->count >= wanted;
}
static bool has_answers(collector *self, size_t wanted) {
    return self->answers >= wanted;
}
static bool has_compacted(collector *self, size_t wanted) {
    return self->compacted >= (int)wanted;
}

static bool holds(collector *self, bool (*has)(collector *, size_t), size_t wanted) {
    pthread_mutex_lock(&self->lock);
    bool there = has(self, wanted);
    pthread_mutex_unlock(&self->lock);
    return there;
}

/* Waits for what must come; a test that waits in vain fails. */
static void await(collector *self, bool (*has)(collector *, size_t), size_t wanted) {
    uint64_t end = chance_boot_ms(chance_system()) + PATIENCE_MS;
    while (!holds(self, has, wanted)) {
        if (chance_boot_ms(chance_system()) > end)
            fail_msg("nothing came within %u ms", PATIENCE_MS);
        usleep(2000);
    }
}

static coord_watch *watch(coord *handle, const char *prefix, int64_t from, collector *into) {
    coord_watch *started = NULL;
    failure why = {0};
    assert_int_equal(coord_watch_start(handle, prefix, from, on_events, into, &started, &why), STATUS_OK);
    return started;
}

static void check_event(const collector *self, size_t at, const char *key, const char *value) {
    assert_true(at < self->count);
    assert_string_equal(self->events[at].key, key);
    assert_int_equal(self->events[at].deleted, value == NULL);
    assert_string_equal(self->events[at].value, value == NULL ? "" : value);
}

/* ---- Cases: keys and transactions ------------------------------------------------------------ */

static void put_get_delete(world *self) {
    check_value(self, "a", NULL);
    put(self->handle, "a", "1");
    check_value(self, "a", "1");
    put(self->handle, "a", "");
    check_value(self, "a", "");
    coord_op op = {.kind = COORD_PUT, .key = "binary", .value = bytes_of("\0\xff\n\"", 4)};
    assert_true(txn(self->handle, NULL, 0, &op, 1, NULL));
    assert_true(bytes_equal(get(self, "binary", false).kvs[0].value, op.value));
    op = delete_op("a");
    assert_true(txn(self->handle, NULL, 0, &op, 1, NULL));
    check_value(self, "a", NULL);
    assert_true(txn(self->handle, NULL, 0, &op, 1, NULL));
}

static void ranges_are_sorted_and_bounded_by_the_prefix(world *self) {
    static const char *const keys[] = {"b/2", "b/10", "a", "b", "b/\xc3\xa9", "b/1", "c", "b0"};
    static const char *const sorted[] = {"b/1", "b/10", "b/2", "b/\xc3\xa9"};
    for (size_t i = 0; i < 8; i++)
        put(self->handle, keys[i], keys[i]);
    coord_result result = get(self, "b/", true);
    assert_int_equal(result.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(result.kvs[i].key, sorted[i]);
        assert_true(bytes_equal(result.kvs[i].value, bytes_of_text(sorted[i])));
    }
    assert_int_equal(get(self, "", true).count, 8);
    assert_int_equal(get(self, "b", false).count, 1);
    assert_int_equal(get(self, "nothing/", true).count, 0);
}

static void versions_and_revisions(world *self) {
    int64_t first = put(self->handle, "k", "1");
    int64_t second = put(self->handle, "k", "2");
    assert_true(second > first);
    coord_result result = get(self, "k", false);
    assert_int_equal(result.kvs[0].create_revision, first);
    assert_int_equal(result.kvs[0].mod_revision, second);
    assert_int_equal(result.kvs[0].version, 2);
    assert_int_equal(result.kvs[0].lease, 0);
    assert_true(result.revision >= second);
    coord_op op = delete_op("k");
    assert_true(txn(self->handle, NULL, 0, &op, 1, NULL));
    int64_t third = put(self->handle, "k", "3");
    result = get(self, "k", false);
    assert_int_equal(result.kvs[0].create_revision, third);
    assert_int_equal(result.kvs[0].version, 1);
}

/* Every target with a number that is right and others that are not: a misnamed field would compare with 0. */
static void compares_look_at_what_they_name(world *self) {
    int64_t created = put(self->handle, "k", "old");
    put(self->handle, "k", "mid");
    int64_t modified = put(self->handle, "k", "value");
    const struct {
        coord_compare compare;
        bool holds;
    } cases[] = {
        {{.key = "k", .target = COORD_VERSION, .number = 3}, true},
        {{.key = "k", .target = COORD_VERSION, .number = 0}, false},
        {{.key = "k", .target = COORD_VERSION, .number = 2}, false},
        {{.key = "k", .target = COORD_MOD_REVISION, .number = modified}, true},
        {{.key = "k", .target = COORD_MOD_REVISION, .number = 0}, false},
        {{.key = "k", .target = COORD_MOD_REVISION, .number = created}, false},
        {{.key = "k", .target = COORD_CREATE_REVISION, .number = created}, true},
        {{.key = "k", .target = COORD_CREATE_REVISION, .number = 0}, false},
        {{.key = "k", .target = COORD_CREATE_REVISION, .number = modified}, false},
        {{.key = "k", .target = COORD_VALUE, .value = bytes_of_text("value")}, true},
        {{.key = "k", .target = COORD_VALUE, .value = bytes_of_text("")}, false},
        {{.key = "k", .target = COORD_VALUE, .value = bytes_of_text("old")}, false},
        {{.key = "absent", .target = COORD_VERSION, .number = 0}, true},
        {{.key = "absent", .target = COORD_VERSION, .number = 1}, false},
        {{.key = "absent", .target = COORD_MOD_REVISION, .number = 0}, true},
        {{.key = "absent", .target = COORD_CREATE_REVISION, .number = 0}, true},
        {{.key = "absent", .target = COORD_VALUE, .value = bytes_of_text("")}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        coord_op op = put_op("side", "effect");
        bool held = txn(self->handle, &cases[i].compare, 1, &op, 1, NULL);
        if (held != cases[i].holds)
            fail_msg("compare %zu %s", i, held ? "held" : "did not hold");
        check_value(self, "side", held ? "effect" : NULL);
        op = delete_op("side");
        assert_true(txn(self->handle, NULL, 0, &op, 1, NULL));
    }
}

static void transactions_are_whole_and_one_revision(world *self) {
    put(self->handle, "gone", "x");
    coord_op ops[3] = {put_op("a", "1"), put_op("b", "2"), delete_op("gone")};
    int64_t revision = 0;
    assert_true(txn(self->handle, NULL, 0, ops, 3, &revision));
    coord_result result = get(self, "", true);
    assert_int_equal(result.count, 2);
    assert_int_equal(result.kvs[0].mod_revision, revision);
    assert_int_equal(result.kvs[1].mod_revision, revision);
    coord_compare compares[2] = {{.key = "a", .target = COORD_VERSION, .number = 1},
                                 {.key = "b", .target = COORD_VERSION, .number = 7}};
    ops[0] = put_op("a", "3");
    ops[1] = delete_op("b");
    assert_false(txn(self->handle, compares, 2, ops, 2, NULL));
    check_value(self, "a", "1");
    check_value(self, "b", "2");
}

static void prefixes_are_apart(world *self) {
    coord *other = backend_open(self->where, true);
    put(self->handle, "k", "mine");
    put(other, "k", "theirs");
    check_value(self, "k", "mine");
    assert_int_equal(get(self, "", true).count, 1);
    coord_op op = delete_op("k");
    assert_true(txn(other, NULL, 0, &op, 1, NULL));
    check_value(self, "k", "mine");
    coord_close(other);
}

/* ---- Cases: bounds --------------------------------------------------------------------------- */

static void check_refused(world *self, const coord_compare *compares, size_t compare_count,
                          const coord_op *ops, size_t op_count) {
    failure why = {0};
    bool succeeded = true;
    int64_t revision = -1;
    assert_int_equal(coord_txn_wait(self->handle, compares, compare_count, ops, op_count, TIMEOUT_MS,
                                    &succeeded, &revision, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "BAD_TRANSACTION");
    assert_int_equal(revision, -1);
}

static void bounds_are_refused(world *self) {
    static char key[COORD_KEY_BYTES + 2], value[COORD_VALUE_BYTES + 1];
    coord_op many[COORD_TXN_OPS + 1];
    char names[COORD_TXN_OPS + 1][4];
    memset(key, 'k', COORD_KEY_BYTES + 1);
    coord_op op = put_op(key, "x");
    check_refused(self, NULL, 0, &op, 1);
    op = put_op("", "x");
    check_refused(self, NULL, 0, &op, 1);
    op = put_op("\xff\xfe", "x");
    check_refused(self, NULL, 0, &op, 1);
    op = put_op("~op/mine", "x"); /* a backend's own */
    check_refused(self, NULL, 0, &op, 1);
    op = (coord_op){.kind = COORD_PUT, .key = "k", .value = bytes_of(value, sizeof value)};
    check_refused(self, NULL, 0, &op, 1);
    check_refused(self, NULL, 0, &op, 0);
    coord_op twice[2] = {put_op("k", "1"), delete_op("k")};
    check_refused(self, NULL, 0, twice, 2);
    coord_op heavy[2] = {{.kind = COORD_PUT, .key = "a", .value = bytes_of(value, 700000)},
                         {.kind = COORD_PUT, .key = "b", .value = bytes_of(value, 700000)}};
    check_refused(self, NULL, 0, heavy, 2);
    for (size_t i = 0; i <= COORD_TXN_OPS; i++) {
        snprintf(names[i], sizeof names[i], "%zu", i);
        many[i] = put_op(names[i], "x");
    }
    check_refused(self, NULL, 0, many, COORD_TXN_OPS + 1);
    assert_int_equal(get(self, "", true).count, 0);
    assert_true(txn(self->handle, NULL, 0, many, COORD_TXN_OPS, NULL));
    failure why = {0};
    int64_t lease = 0;
    assert_int_equal(coord_lease_grant_wait(self->handle, 1999, TIMEOUT_MS, &lease, &why),
                     STATUS_INVALID_ARGUMENT);
}

static void the_largest_value_fits(world *self) {
    static uint8_t value[COORD_VALUE_BYTES];
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)(i * 31);
    coord_op op = {.kind = COORD_PUT, .key = "large", .value = bytes_of(value, sizeof value)};
    assert_true(txn(self->handle, NULL, 0, &op, 1, NULL));
    assert_true(bytes_equal(get(self, "large", false).kvs[0].value, op.value));
}

/* ---- Cases: leases --------------------------------------------------------------------------- */

static void put_leased(world *self, const char *key, int64_t lease) {
    coord_op op = put_op(key, "leased");
    op.lease = lease;
    assert_true(txn(self->handle, NULL, 0, &op, 1, NULL));
    assert_int_equal(get(self, key, false).kvs[0].lease, lease);
}

static void a_lease_expires_with_an_event(world *self) {
    collector events;
    collector_init(&events);
    int64_t lease = grant(self->handle, 2000);
    int64_t revision = put(self->handle, "stays", "x");
    put_leased(self, "goes/1", lease);
    put_leased(self, "goes/2", lease);
    coord_watch *watching = watch(self->handle, "", revision + 1, &events);
    await(&events, has_events, 4);
    coord_watch_stop(self->handle, watching);
    check_event(&events, 2, "goes/1", NULL);
    check_event(&events, 3, "goes/2", NULL);
    assert_int_equal(events.events[2].mod_revision, events.events[3].mod_revision);
    check_value(self, "goes/1", NULL);
    check_value(self, "stays", "x");
}

static void keepalive(world *self, int64_t lease, collector *answer) {
    collector_init(answer);
    coord_lease_keepalive(self->handle, lease, TIMEOUT_MS, on_result, answer);
    await(answer, has_answers, 1);
}

static void a_lease_lives_on_while_kept_alive(world *self) {
    collector answer;
    int64_t lease = grant(self->handle, 2000);
    put_leased(self, "kept", lease);
    for (int i = 0; i < 6; i++) {
        usleep(500000);
        keepalive(self, lease, &answer);
        assert_int_equal(answer.code, STATUS_OK);
        assert_int_equal(answer.ttl_ms, 2000);
    }
    check_value(self, "kept", "leased");
}

static void a_put_takes_a_key_from_its_lease(world *self) {
    collector answer;
    collector_init(&answer);
    int64_t lease = grant(self->handle, 60000);
    put_leased(self, "freed", lease);
    put_leased(self, "bound", lease);
    put(self->handle, "freed", "free");
    coord_lease_revoke(self->handle, lease, TIMEOUT_MS, on_result, &answer);
    await(&answer, has_answers, 1);
    assert_int_equal(answer.code, STATUS_OK);
    check_value(self, "freed", "free");
    check_value(self, "bound", NULL);
}

static void a_dead_lease_is_not_found(world *self) {
    collector answer;
    collector_init(&answer);
    int64_t lease = grant(self->handle, 60000);
    coord_lease_revoke(self->handle, lease, TIMEOUT_MS, on_result, &answer);
    await(&answer, has_answers, 1);
    keepalive(self, lease, &answer);
    assert_int_equal(answer.code, STATUS_NOT_FOUND);
    assert_string_equal(answer.reason, "LEASE_NOT_FOUND");
    collector_init(&answer);
    coord_lease_revoke(self->handle, lease, TIMEOUT_MS, on_result, &answer);
    await(&answer, has_answers, 1);
    assert_int_equal(answer.code, STATUS_NOT_FOUND);
    failure why = {0};
    bool succeeded = false;
    coord_op ops[2] = {put_op("before", "x"), put_op("k", "x")};
    ops[1].lease = lease;
    assert_int_equal(coord_txn_wait(self->handle, NULL, 0, ops, 2, TIMEOUT_MS, &succeeded, NULL, &why),
                     STATUS_NOT_FOUND);
    assert_string_equal(why.reason, "LEASE_NOT_FOUND");
    assert_int_equal(get(self, "", true).count, 0);
}

/* ---- Cases: watches -------------------------------------------------------------------------- */

static void a_watch_sees_everything_in_order(world *self) {
    collector events;
    collector_init(&events);
    int64_t first = put(self->handle, "w/a", "0");
    put(self->handle, "other", "x");
    coord_watch *watching = watch(self->handle, "w/", first, &events);
    coord_op ops[3] = {put_op("w/a", "1"), put_op("w/b", "1"), put_op("elsewhere", "1")};
    int64_t second = 0;
    assert_true(txn(self->handle, NULL, 0, ops, 3, &second));
    ops[0] = delete_op("w/a");
    assert_true(txn(self->handle, NULL, 0, ops, 1, NULL));
    put(self->handle, "w/c", "2");
    await(&events, has_events, 5);
    coord_watch_stop(self->handle, watching);
    assert_int_equal(events.count, 5);
    check_event(&events, 0, "w/a", "0");
    check_event(&events, 1, "w/a", "1");
    check_event(&events, 2, "w/b", "1");
    check_event(&events, 3, "w/a", NULL);
    check_event(&events, 4, "w/c", "2");
    assert_int_equal(events.events[0].mod_revision, first);
    assert_int_equal(events.events[1].mod_revision, second);
    assert_int_equal(events.events[2].mod_revision, second);
    assert_int_equal(events.events[1].create_revision, first);
    assert_int_equal(events.events[1].version, 2);
    assert_true(events.revision >= events.events[4].mod_revision);
}

static void a_watch_resumes_from_an_old_revision(world *self) {
    collector first, second;
    collector_init(&first);
    collector_init(&second);
    int64_t start = put(self->handle, "k", "0");
    for (int i = 1; i < 40; i++)
        put(self->handle, "k", i % 2 == 0 ? "even" : "odd");
    coord_watch *watching = watch(self->handle, "", start, &first);
    await(&first, has_events, 40);
    coord_watch_stop(self->handle, watching);
    coord_watch *again = watch(self->handle, "", first.events[29].mod_revision + 1, &second);
    await(&second, has_events, 10);
    coord_watch_stop(self->handle, again);
    assert_int_equal(second.count, 10);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(second.events[i].mod_revision, first.events[30 + i].mod_revision);
}

/* More than fits one batch, in transactions that must not be torn. */
static void a_long_history_comes_whole(world *self) {
    enum { TRANSACTIONS = 45, EVENTS = TRANSACTIONS * (int)COORD_TXN_OPS };
    static collector events;
    char names[COORD_TXN_OPS][4], value[8];
    coord_op ops[COORD_TXN_OPS];
    int64_t start = 0;
    collector_init(&events);
    for (int i = 0; i < TRANSACTIONS; i++) {
        int64_t revision = 0;
        snprintf(value, sizeof value, "%d", i);
        for (size_t op = 0; op < COORD_TXN_OPS; op++) {
            snprintf(names[op], sizeof names[op], "%02zu", op);
            ops[op] = put_op(names[op], value);
        }
        assert_true(txn(self->handle, NULL, 0, ops, COORD_TXN_OPS, &revision));
        start = i == 0 ? revision : start;
    }
    coord_watch *watching = watch(self->handle, "", start, &events);
    await(&events, has_events, EVENTS);
    coord_watch_stop(self->handle, watching);
    assert_int_equal(events.count, EVENTS);
    for (size_t i = 0; i < EVENTS; i++) {
        snprintf(names[0], sizeof names[0], "%02zu", i % COORD_TXN_OPS);
        snprintf(value, sizeof value, "%zu", i / COORD_TXN_OPS);
        check_event(&events, i, names[0], value);
        assert_int_equal(events.events[i].mod_revision, events.events[i - i % COORD_TXN_OPS].mod_revision);
    }
}

/* Larger than one message of etcd's, which then comes in fragments. */
static void a_large_history_comes_whole(world *self) {
    enum { PUTS = 6 };
    static uint8_t value[900000];
    static collector events;
    collector_init(&events);
    int64_t start = put(self->handle, "start", "");
    for (int i = 0; i < PUTS; i++) {
        memset(value, 'a' + i, sizeof value);
        coord_op ops[2] = {{.kind = COORD_PUT, .key = "large", .value = bytes_of(value, sizeof value)},
                           put_op("small", "x")};
        assert_true(txn(self->handle, NULL, 0, ops, 2, NULL));
    }
    coord_watch *watching = watch(self->handle, "", start, &events);
    await(&events, has_events, 1 + 2 * PUTS);
    coord_watch_stop(self->handle, watching);
    assert_int_equal(events.count, 1 + 2 * PUTS);
    for (size_t i = 0; i < PUTS; i++) {
        assert_string_equal(events.events[1 + 2 * i].key, "large");
        assert_int_equal(events.events[1 + 2 * i].value[0], 'a' + (int)i);
        assert_string_equal(events.events[2 + 2 * i].key, "small");
    }
}

static void a_watch_from_now_sees_only_what_comes(world *self) {
    collector events;
    collector_init(&events);
    put(self->handle, "k", "before");
    coord_watch *watching = watch(self->handle, "", 0, &events);
    /* From when exactly is not said, so write until one is seen. */
    for (int i = 0; i < 200 && !holds(&events, has_events, 1); i++) {
        put(self->handle, "k", "after");
        usleep(20000);
    }
    await(&events, has_events, 1);
    coord_watch_stop(self->handle, watching);
    check_event(&events, 0, "k", "after");
}

static void a_compacted_watch_says_so(world *self) {
    collector events, later;
    collector_init(&events);
    collector_init(&later);
    int64_t old = put(self->handle, "k", "1");
    put(self->handle, "k", "2");
    int64_t last = put(self->handle, "k", "3");
    backend_compact(self->where, last);
    coord_watch *watching = watch(self->handle, "", old, &events);
    await(&events, has_compacted, 1);
    assert_int_equal(events.count, 0);
    assert_true(events.revision > old);
    put(self->handle, "k", "4");
    coord_watch *again = watch(self->handle, "", last, &later);
    await(&later, has_events, 2);
    check_event(&later, 0, "k", "3");
    check_event(&later, 1, "k", "4");
    coord_watch_stop(self->handle, again);
    coord_watch_stop(self->handle, watching);
    assert_int_equal(events.count, 0);
    assert_int_equal(events.compacted, 1);
}

static void a_watch_sees_only_its_own_prefix(world *self) {
    collector events;
    collector_init(&events);
    coord *other = backend_open(self->where, true);
    int64_t start = put(self->handle, "k", "mine");
    coord_watch *watching = watch(self->handle, "", start, &events);
    put(other, "k", "theirs");
    put(self->handle, "k", "end");
    await(&events, has_events, 2);
    coord_watch_stop(self->handle, watching);
    check_event(&events, 1, "k", "end");
    coord_close(other);
}

static void a_stopped_watch_is_silent(world *self) {
    collector events;
    collector_init(&events);
    int64_t start = put(self->handle, "k", "1");
    coord_watch *watching = watch(self->handle, "", start, &events);
    coord_watch *unused = watch(self->handle, "", start, &events);
    coord_watch_stop(self->handle, unused);
    await(&events, has_events, 1);
    coord_watch_stop(self->handle, watching);
    size_t before = events.count;
    collector other;
    collector_init(&other);
    coord_watch *witness = watch(self->handle, "", start, &other);
    put(self->handle, "k", "2");
    await(&other, has_events, 2);
    coord_watch_stop(self->handle, witness);
    assert_int_equal(events.count, before);
}

/* ---- Cases: several at once ------------------------------------------------------------------ */

enum { THREADS = 4, INCREMENTS = 25 };

typedef struct incrementer {
    world view;
    pthread_t thread;
    int conflicts;
} incrementer;

static void increment(incrementer *self) {
    for (bool done = false; !done;) {
        arena_reset(&self->view.memory);
        coord_result now = get(&self->view, "counter", false);
        int64_t version = now.count == 0 ? 0 : now.kvs[0].mod_revision;
        char text[32] = "";
        long value = 0;
        if (now.count != 0) {
            memcpy(text, now.kvs[0].value.data, now.kvs[0].value.size);
            value = strtol(text, NULL, 10);
        }
        snprintf(text, sizeof text, "%ld", value + 1);
        coord_compare compare = {.key = "counter", .target = COORD_MOD_REVISION, .number = version};
        coord_op op = put_op("counter", text);
        done = txn(self->view.handle, &compare, 1, &op, 1, NULL);
        self->conflicts += done ? 0 : 1;
    }
}

static void *increment_often(void *context) {
    incrementer *self = context;
    for (int i = 0; i < INCREMENTS; i++)
        increment(self);
    return NULL;
}

static void concurrent_increments_all_count(world *self) {
    incrementer each[THREADS];
    coord *second = backend_open(self->where, false);
    for (size_t i = 0; i < THREADS; i++) {
        each[i] = (incrementer){.view = {.where = self->where, .handle = i % 2 == 0 ? self->handle : second}};
        arena_init(&each[i].view.memory, 1024, 1U << 20);
        assert_int_equal(pthread_create(&each[i].thread, NULL, increment_often, &each[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(each[i].thread, NULL);
        arena_free(&each[i].view.memory);
    }
    coord_close(second);
    check_value(self, "counter", "100");
}

/* A process of its own: exits with 0 when it saw the parent's key and wrote its answer. */
static int other_process(backend *where, int64_t start) {
    world self = {.where = where};
    collector events;
    collector_init(&events);
    self.handle = backend_open(where, false);
    coord_watch *watching = watch(self.handle, "ping", start, &events);
    await(&events, has_events, 1);
    coord_watch_stop(self.handle, watching);
    int64_t revision = put(self.handle, "pong", events.events[0].value);
    coord_close(self.handle);
    return revision > 0 ? 0 : 1;
}

static void two_processes_share_one_store(backend *where) {
    world self = {.where = where};
    collector events;
    collector_init(&events);
    self.handle = backend_open(where, true);
    int64_t start = put(self.handle, "start", "");
    coord_close(self.handle);
    pid_t child = fork(); /* while nothing is open: no connection crosses a fork */
    assert_true(child >= 0);
    if (child == 0)
        _exit(other_process(where, start));
    self.handle = backend_open(where, false);
    coord_watch *watching = watch(self.handle, "pong", start, &events);
    put(self.handle, "ping", "hello");
    await(&events, has_events, 1);
    check_event(&events, 0, "pong", "hello");
    coord_watch_stop(self.handle, watching);
    coord_close(self.handle);
    int outcome = 0;
    assert_int_equal(waitpid(child, &outcome, 0), child);
    assert_true(WIFEXITED(outcome));
    assert_int_equal(WEXITSTATUS(outcome), 0);
}

static void closing_answers_what_is_open(world *self) {
    enum { REQUESTS = 200 };
    collector answers;
    collector_init(&answers);
    coord *closing = backend_open(self->where, false);
    coord_watch *watching = watch(closing, "", 1, &answers);
    for (int i = 0; i < REQUESTS; i++) {
        coord_op op = put_op("k", "x");
        coord_txn(closing, NULL, 0, &op, 1, TIMEOUT_MS, on_result, &answers);
    }
    (void)watching;
    coord_close(closing);
    assert_int_equal(answers.answers, REQUESTS);
    /* The queue was long, so that the last one cannot have been done. */
    assert_int_equal(answers.code, STATUS_CANCELLED);
}

static void too_many_requests_are_refused(world *self) {
    enum { REQUESTS = 4000 };
    collector answers;
    collector_init(&answers);
    for (int i = 0; i < REQUESTS; i++)
        coord_get(self->handle, "k", false, TIMEOUT_MS, on_result, &answers);
    await(&answers, has_answers, REQUESTS);
    assert_int_equal(answers.answers, REQUESTS);
    check_value(self, "k", NULL);
}

static void a_passed_deadline_is_told(world *self) {
    failure why = {0};
    bool succeeded = false;
    coord_op op = put_op("k", "x");
    assert_int_equal(coord_txn_wait(self->handle, NULL, 0, &op, 1, 0, &succeeded, NULL, &why),
                     STATUS_DEADLINE_EXCEEDED);
    check_value(self, "k", NULL);
}

/* ---- The table ------------------------------------------------------------------------------- */

typedef struct test_case {
    const char *name;
    void (*run)(world *self);
    void (*run_closed)(backend *where); /* opens its own handles */
} test_case;

#define CASE(function)                                                                                       \
    { .name = #function, .run = (function) }

static const test_case cases[] = {
    CASE(put_get_delete),
    CASE(ranges_are_sorted_and_bounded_by_the_prefix),
    CASE(versions_and_revisions),
    CASE(compares_look_at_what_they_name),
    CASE(transactions_are_whole_and_one_revision),
    CASE(prefixes_are_apart),
    CASE(bounds_are_refused),
    CASE(the_largest_value_fits),
    CASE(a_lease_expires_with_an_event),
    CASE(a_lease_lives_on_while_kept_alive),
    CASE(a_put_takes_a_key_from_its_lease),
    CASE(a_dead_lease_is_not_found),
    CASE(a_watch_sees_everything_in_order),
    CASE(a_watch_resumes_from_an_old_revision),
    CASE(a_long_history_comes_whole),
    CASE(a_large_history_comes_whole),
    CASE(a_watch_from_now_sees_only_what_comes),
    CASE(a_compacted_watch_says_so),
    CASE(a_watch_sees_only_its_own_prefix),
    CASE(a_stopped_watch_is_silent),
    CASE(concurrent_increments_all_count),
    CASE(closing_answers_what_is_open),
    CASE(too_many_requests_are_refused),
    CASE(a_passed_deadline_is_told),
    {.name = "two_processes_share_one_store", .run_closed = two_processes_share_one_store},
};

enum { CASES = sizeof cases / sizeof cases[0], BACKENDS = 2 };

static backend backends[BACKENDS];

typedef struct binding {
    backend *where;
    const test_case *what;
    char name[96];
} binding;

static void run_case(void **state) {
    const binding *self = *state;
    if (self->where->absent)
        skip();
    if (self->what->run_closed != NULL) {
        self->what->run_closed(self->where);
        return;
    }
    world view = {.where = self->where, .handle = backend_open(self->where, true)};
    arena_init(&view.memory, 4096, 64U << 20);
    self->what->run(&view);
    coord_close(view.handle);
    arena_free(&view.memory);
}

static int start_backends(void **state) {
    (void)state;
    backend_start_embedded(&backends[0]);
    backend_start_etcd(&backends[1]);
    return 0;
}

static int stop_backends(void **state) {
    (void)state;
    for (size_t i = 0; i < BACKENDS; i++)
        backend_stop(&backends[i]);
    return 0;
}

int main(void) {
    static binding bindings[BACKENDS * CASES];
    static struct CMUnitTest tests[BACKENDS * CASES];
    for (size_t i = 0; i < BACKENDS * (size_t)CASES; i++) {
        binding *each = &bindings[i];
        *each = (binding){.where = &backends[i / CASES], .what = &cases[i % CASES]};
        snprintf(each->name, sizeof each->name, "%s: %s", i / CASES == 0 ? "embedded" : "etcd",
                 each->what->name);
        tests[i] = (struct CMUnitTest){.name = each->name, .test_func = run_case, .initial_state = each};
    }
    return cmocka_run_group_tests_name("coordination", tests, start_backends, stop_backends);
}
