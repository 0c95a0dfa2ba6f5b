/* Random operations against a model of what etcd promises, for both backends: after every one the store must
 * hold what the model holds, and in the end a watch must have seen every change, in order, once. The seed is
 * printed; COORD_TEST_SEED repeats a run. */
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
#define PATIENCE_MS 20000U

enum { KEYS = 8, LEASES = 3, STEPS = 400, MOST_EVENTS = STEPS * KEYS, VALUE_BYTES = 24 };

/* In the order of a range. */
static const char *const names[KEYS] = {"a", "a/", "a/1", "a/10", "a/2", "b", "b\xc3\xa9", "c"};

typedef struct entry {
    bool there;
    char value[VALUE_BYTES];
    int64_t created, modified, version, lease;
} entry;

typedef struct change {
    int key;
    bool deleted;
    char value[VALUE_BYTES];
    int64_t revision;
} change;

typedef struct model {
    backend *where;
    coord *handle;
    simulated_chance random;
    entry entries[KEYS];
    int64_t leases[LEASES]; /* 0: none */
    int64_t revision;
    change changes[MOST_EVENTS];
    size_t change_count;
    arena memory;
} model;

typedef struct watcher {
    pthread_mutex_t lock;
    change changes[MOST_EVENTS];
    size_t count;
    bool strange; /* a key that is none of ours, or a number that is wrong */
} watcher;

static uint32_t draw(model *self, uint32_t below) {
    uint32_t number = 0;
    chance_random(&self->random.chance, (uint8_t *)&number, sizeof number);
    return number % below;
}

/* ---- The model ------------------------------------------------------------------------------- */

static void note(model *self, int key, bool deleted, const char *value, int64_t revision) {
    change *each = &self->changes[self->change_count++];
    *each = (change){.key = key, .deleted = deleted, .revision = revision};
    snprintf(each->value, sizeof each->value, "%s", value);
}

static void model_put(model *self, int key, const char *value, int64_t lease, int64_t revision) {
    entry *each = &self->entries[key];
    if (!each->there)
        *each = (entry){.there = true, .created = revision};
    snprintf(each->value, sizeof each->value, "%s", value);
    each->modified = revision;
    each->version++;
    each->lease = lease;
    note(self, key, false, value, revision);
}

static void model_delete(model *self, int key, int64_t revision) {
    if (!self->entries[key].there)
        return;
    self->entries[key] = (entry){0};
    note(self, key, true, "", revision);
}

static bool model_holds(const model *self, int key, const coord_compare *compare) {
    const entry *each = &self->entries[key];
    switch (compare->target) {
    case COORD_VERSION:
        return each->version == compare->number;
    case COORD_MOD_REVISION:
        return each->modified == compare->number;
    case COORD_CREATE_REVISION:
        return each->created == compare->number;
    case COORD_VALUE:
        return each->there && bytes_equal(bytes_of_text(each->value), compare->value);
    }
    return false;
}

/* ---- Random transactions --------------------------------------------------------------------- */

/* Half of them right, so that whole transactions often hold. */
static coord_compare random_compare(model *self, int key) {
    const entry *each = &self->entries[key];
    coord_compare out = {.key = names[key], .target = (coord_compare_target)draw(self, 4)};
    bool right = draw(self, 4) != 0;
    int64_t numbers[] = {[COORD_VERSION] = each->version,
                         [COORD_MOD_REVISION] = each->modified,
                         [COORD_CREATE_REVISION] = each->created,
                         [COORD_VALUE] = 0};
    out.number = numbers[out.target] + (right ? 0 : (int64_t)draw(self, 3));
    out.value = bytes_of_text(right ? each->value : "none");
    return out;
}

static void random_txn(model *self) {
    coord_compare compares[3];
    coord_op ops[4];
    int keys[4];
    char values[4][VALUE_BYTES];
    bool used[KEYS] = {false}, holds = true, succeeded = false;
    size_t compare_count = draw(self, 4), op_count = 1 + draw(self, 4);
    int64_t revision = 0;
    failure why = {0};
    for (size_t i = 0; i < compare_count; i++) {
        int key = (int)draw(self, KEYS);
        compares[i] = random_compare(self, key);
        holds = holds && model_holds(self, key, &compares[i]);
    }
    for (size_t i = 0; i < op_count; i++) {
        do
            keys[i] = (int)draw(self, KEYS);
        while (used[keys[i]]);
        used[keys[i]] = true;
        snprintf(values[i], sizeof values[i], "%u", draw(self, 1000));
        ops[i] = (coord_op){.kind = draw(self, 3) == 0 ? COORD_DELETE : COORD_PUT,
                            .key = names[keys[i]],
                            .value = bytes_of_text(values[i])};
        if (ops[i].kind == COORD_PUT && draw(self, 3) == 0)
            ops[i].lease = self->leases[draw(self, LEASES)];
    }
    if (coord_txn_wait(self->handle, compares, compare_count, ops, op_count, TIMEOUT_MS, &succeeded,
                       &revision, &why) != STATUS_OK)
        fail_msg("%s: %s", why.reason, why.message);
    assert_int_equal(succeeded, holds);
    assert_true(revision >= self->revision);
    size_t before = self->change_count;
    for (size_t i = 0; holds && i < op_count; i++) {
        if (ops[i].kind == COORD_PUT)
            model_put(self, keys[i], values[i], ops[i].lease, revision);
        else
            model_delete(self, keys[i], revision);
    }
    if (self->change_count > before)
        assert_true(revision > self->revision);
    self->revision = revision;
}

/* ---- Random leases --------------------------------------------------------------------------- */

typedef struct answer {
    pthread_mutex_t lock;
    pthread_cond_t came;
    bool done;
    status_code code;
    int64_t revision;
} answer;

static void on_answer(void *context, const coord_result *result) {
    answer *self = context;
    pthread_mutex_lock(&self->lock);
    self->code = result->code;
    self->revision = result->revision;
    self->done = true;
    pthread_cond_signal(&self->came);
    pthread_mutex_unlock(&self->lock);
}

static int64_t lease_revoke(model *self, int64_t lease) {
    answer result = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};
    coord_lease_revoke(self->handle, lease, TIMEOUT_MS, on_answer, &result);
    pthread_mutex_lock(&result.lock);
    while (!result.done)
        pthread_cond_wait(&result.came, &result.lock);
    pthread_mutex_unlock(&result.lock);
    assert_int_equal(result.code, STATUS_OK);
    return result.revision;
}

static void random_lease(model *self) {
    failure why = {0};
    int64_t *lease = &self->leases[draw(self, LEASES)];
    if (*lease == 0) {
        assert_int_equal(coord_lease_grant_wait(self->handle, 600000, TIMEOUT_MS, lease, &why), STATUS_OK);
        return;
    }
    int64_t revision = lease_revoke(self, *lease);
    assert_true(revision >= self->revision);
    for (int i = 0; i < KEYS; i++)
        if (self->entries[i].lease == *lease)
            model_delete(self, i, revision);
    self->revision = revision;
    *lease = 0;
}

/* ---- Comparing ------------------------------------------------------------------------------- */

static void check_kv(const coord_kv *kv, int key, const entry *each) {
    assert_string_equal(kv->key, names[key]);
    assert_true(bytes_equal(kv->value, bytes_of_text(each->value)));
    assert_int_equal(kv->create_revision, each->created);
    assert_int_equal(kv->mod_revision, each->modified);
    assert_int_equal(kv->version, each->version);
    assert_int_equal(kv->lease, each->lease);
}

static void check_range(model *self, const char *prefix) {
    coord_result result;
    failure why = {0};
    size_t at = 0;
    arena_reset(&self->memory);
    assert_int_equal(coord_get_wait(self->handle, prefix, true, TIMEOUT_MS, &self->memory, &result, &why),
                     STATUS_OK);
    for (int i = 0; i < KEYS; i++) {
        if (!self->entries[i].there || strncmp(names[i], prefix, strlen(prefix)) != 0)
            continue;
        assert_true(at < result.count);
        check_kv(&result.kvs[at++], i, &self->entries[i]);
    }
    assert_int_equal(at, result.count);
    assert_true(result.revision >= self->revision);
}

static int name_index(const char *name) {
    for (int i = 0; i < KEYS; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

static void on_events(void *context, const coord_event *events, size_t count, int64_t revision,
                      bool compacted) {
    watcher *self = context;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < count && self->count < MOST_EVENTS; i++) {
        change *seen = &self->changes[self->count++];
        *seen = (change){.key = name_index(events[i].kv.key),
                         .deleted = events[i].deleted,
                         .revision = events[i].kv.mod_revision};
        snprintf(seen->value, sizeof seen->value, "%.*s", (int)events[i].kv.value.size,
                 events[i].kv.value.size == 0 ? "" : (const char *)events[i].kv.value.data);
        self->strange = self->strange || seen->key < 0 || seen->revision > revision;
    }
    self->strange = self->strange || compacted;
    pthread_mutex_unlock(&self->lock);
}

static void await_changes(watcher *self, size_t wanted) {
    uint64_t end = chance_boot_ms(chance_system()) + PATIENCE_MS;
    for (;;) {
        pthread_mutex_lock(&self->lock);
        size_t count = self->count;
        pthread_mutex_unlock(&self->lock);
        if (count >= wanted)
            return;
        if (chance_boot_ms(chance_system()) > end)
            fail_msg("%zu of %zu events came", count, wanted);
        usleep(5000);
    }
}

/* The events of one transaction are in the order of its operations with both backends; those of a lease's end
 * by key. */
static void check_changes(const model *self, const watcher *seen) {
    assert_false(seen->strange);
    assert_int_equal(seen->count, self->change_count);
    for (size_t i = 0; i < seen->count; i++) {
        assert_int_equal(seen->changes[i].key, self->changes[i].key);
        assert_int_equal(seen->changes[i].deleted, self->changes[i].deleted);
        assert_int_equal(seen->changes[i].revision, self->changes[i].revision);
        assert_string_equal(seen->changes[i].value, self->changes[i].value);
    }
}

/* ---- The runs -------------------------------------------------------------------------------- */

static uint64_t choose_seed(void) {
    uint64_t seed = 0;
    const char *given = getenv("COORD_TEST_SEED");
    chance_random(chance_system(), (uint8_t *)&seed, sizeof seed);
    if (given != NULL)
        seed = strtoull(given, NULL, 10);
    print_message("seed %llu\n", (unsigned long long)seed);
    return seed;
}

static void run_model(backend *where) {
    static model self;
    static watcher live, late;
    static const char *const prefixes[] = {"", "a", "a/", "b", "x"};
    coord_watch *watching = NULL, *again = NULL;
    failure why = {0};
    memset(&live, 0, sizeof live);
    memset(&late, 0, sizeof late);
    pthread_mutex_init(&live.lock, NULL);
    pthread_mutex_init(&late.lock, NULL);
    self = (model){.where = where, .handle = backend_open(where, true)};
    simulated_chance_init(&self.random, choose_seed());
    arena_init(&self.memory, 65536, 1U << 20);
    assert_int_equal(coord_watch_start(self.handle, "", 1, on_events, &live, &watching, &why), STATUS_OK);
    for (int i = 0; i < STEPS; i++) {
        if (draw(&self, 10) == 0)
            random_lease(&self);
        else
            random_txn(&self);
        if (draw(&self, 3) == 0)
            check_range(&self, prefixes[draw(&self, 5)]);
    }
    check_range(&self, "");
    assert_int_equal(coord_watch_start(self.handle, "", 1, on_events, &late, &again, &why), STATUS_OK);
    await_changes(&live, self.change_count);
    await_changes(&late, self.change_count);
    coord_watch_stop(self.handle, watching);
    coord_watch_stop(self.handle, again);
    check_changes(&self, &live);
    check_changes(&self, &late);
    arena_free(&self.memory);
    coord_close(self.handle);
}

static void test_the_twin_keeps_to_the_model(void **state) {
    backend where;
    (void)state;
    backend_start_embedded(&where);
    run_model(&where);
    backend_stop(&where);
}

static void test_etcd_keeps_to_the_model(void **state) {
    backend where;
    (void)state;
    backend_start_etcd(&where);
    if (where.absent)
        skip();
    run_model(&where);
    backend_stop(&where);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_twin_keeps_to_the_model),
        cmocka_unit_test(test_etcd_keeps_to_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
