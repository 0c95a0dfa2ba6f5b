/* The whole of lib/control against the embedded coordination in a temporary file, with real keys: what is put
 * is seen, what is taken away or put back closes, and a store that stops answering closes by time. Also built
 * with the thread sanitizer. */
#include "control/control.h" /* before cmocka.h, whose macro fail() would hide ours */

#include "statements.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "view.h"

#define KILL_AGENT INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_AGENT
#define KILL_GLOBAL INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_GLOBAL
#define PATIENCE_MS 20000

/* The system's clocks, moved ahead by what a test says. */
static atomic_uint_fast64_t ahead_ns;

static uint64_t shifted_boot_ns(void *self) {
    (void)self;
    return chance_boot_ns(chance_system()) + atomic_load(&ahead_ns);
}

static int64_t shifted_wall_ns(void *self) {
    (void)self;
    return chance_wall_ns(chance_system()) + (int64_t)atomic_load(&ahead_ns);
}

static void shifted_random(void *self, uint8_t *out, size_t size) {
    (void)self;
    chance_random(chance_system(), out, size);
}

static const chance shifted = {
    .boot_ns = shifted_boot_ns, .wall_ns = shifted_wall_ns, .random = shifted_random};

typedef struct world {
    installation at;
    arena memory;
    char directory[64], file[96];
    coord *coordination;
    control *subject;
} world;

static coord *coord_new(const world *self) {
    coord *out = NULL;
    failure why = {0};
    const coord_options options = {
        .embedded_path = self->file, .prefix = "interlock/demo/", .source = chance_system()};
    if (coord_open(&out, &options, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    return out;
}

static control *control_new(world *self, coord *coordination, const char *replica) {
    control *out = NULL;
    failure why = {0};
    if (control_open(&out, coordination, &self->at.roots, replica, &shifted, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    return out;
}

static int world_make(void **state) {
    world *self = calloc(1, sizeof *self);
    assert_non_null(self);
    atomic_store(&ahead_ns, 0);
    installation_make(&self->at);
    arena_init(&self->memory, 65536, 64U << 20);
    snprintf(self->directory, sizeof self->directory, "/tmp/control-test-XXXXXX");
    assert_non_null(mkdtemp(self->directory));
    snprintf(self->file, sizeof self->file, "%s/coord.db", self->directory);
    self->coordination = coord_new(self);
    self->subject = control_new(self, self->coordination, "one");
    *state = self;
    return 0;
}

static int world_free(void **state) {
    world *self = *state;
    control_close(self->subject);
    coord_close(self->coordination);
    static const char *const endings[] = {"", "-journal"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", self->file, endings[i]);
        unlink(name);
    }
    assert_int_equal(rmdir(self->directory), 0);
    installation_free(&self->at);
    arena_free(&self->memory);
    free(self);
    return 0;
}

/* ---- Waiting, bounded ---- */

#define WAIT_UNTIL(condition)                                                                                \
    for (int waited_ms = 0; !(condition); waited_ms += 5) {                                                  \
        if (waited_ms > PATIENCE_MS)                                                                         \
            fail_msg("in vain: %s", #condition);                                                             \
        poll(NULL, 0, 5);                                                                                    \
    }

static uint64_t seq_of(control *self) {
    const control_view *view = control_acquire(self);
    uint64_t seq = view->seq;
    control_release(self, view);
    return seq;
}

static size_t kills_of(control *self) {
    const control_view *view = control_acquire(self);
    size_t count = view->kill_count;
    control_release(self, view);
    return count;
}

static bool reason_says(control *self, const char *words) {
    char reason[256];
    control_reason(self, reason);
    return strstr(reason, words) != NULL;
}

/* ---- Writing ---- */

static Interlock__Common__V1__Envelope *kill_of(world *self, const char *subject, bool set,
                                                uint64_t version) {
    Interlock__Control__V1__Kill *kill =
        kill_new(subject[0] == '\0' ? KILL_GLOBAL : KILL_AGENT, subject, set, version, &self->memory);
    return dsse_sign_message(self->at.alice, PAYLOAD_KILL, &kill->base, &self->memory);
}

static uint64_t put(control *into, const Interlock__Common__V1__Envelope *envelope) {
    failure why = {0};
    uint64_t seq = 0;
    if (control_put(into, envelope, &seq, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    return seq;
}

static void expect_put_refused(control *into, const Interlock__Common__V1__Envelope *envelope,
                               status_code expected, const char *reason) {
    failure why = {0};
    uint64_t seq = 77;
    assert_int_equal(control_put(into, envelope, &seq, &why), expected);
    assert_string_equal(why.reason, reason);
    assert_int_equal(seq, 77);
}

/* What whoever gets at coordination can do. */
static void write_raw(world *self, const char *key, const char *text) {
    failure why = {0};
    bool succeeded = false;
    int64_t revision = 0;
    coord_op op = {.kind = text == NULL ? COORD_DELETE : COORD_PUT, .key = key};
    if (text != NULL)
        op.value = bytes_of_text(text);
    assert_int_equal(coord_txn_wait(self->coordination, NULL, 0, &op, 1, 5000, &succeeded, &revision, &why),
                     STATUS_OK);
    assert_true(succeeded);
}

static void what_is_put_is_seen(void **state) {
    world *self = *state;
    assert_true(control_is_fresh(self->subject));
    assert_int_equal(seq_of(self->subject), 0);
    assert_int_equal(put(self->subject, kill_of(self, "", true, 1)), 1);
    WAIT_UNTIL(seq_of(self->subject) == 1 && kills_of(self->subject) == 1);
    assert_int_equal(put(self->subject, kill_of(self, "", false, 2)), 2);
    WAIT_UNTIL(seq_of(self->subject) == 2 && kills_of(self->subject) == 0);
    assert_true(control_is_fresh(self->subject));
    assert_true(control_proof_age_ms(self->subject) < CONTROL_FRESH_MS);
    assert_true(reason_says(self->subject, ""));

    const public_key *key = secret_key_public(self->at.mallory);
    Interlock__Control__V1__Enrolment *enrolment = enrolment_new("agent/deployer", key, 1, &self->memory);
    put(self->subject, dsse_sign_message(self->at.alice, PAYLOAD_ENROLMENT, &enrolment->base, &self->memory));
    Interlock__Control__V1__PolicySet *policy = policy_new("rules: []", 1, &self->memory);
    put(self->subject, dsse_sign_message(self->at.alice, PAYLOAD_POLICY_SET, &policy->base, &self->memory));
    WAIT_UNTIL(seq_of(self->subject) == 4);
    const control_view *view = control_acquire(self->subject);
    assert_non_null(control_find_key(view, key->keyid));
    assert_non_null(view->policy);
    control_release(self->subject, view);
}

static void puts_are_verified_and_only_rise(void **state) {
    world *self = *state;
    Interlock__Common__V1__Envelope *first = kill_of(self, "", true, 3);
    assert_int_equal(put(self->subject, first), 1);
    assert_int_equal(put(self->subject, first), 1); /* the same again */
    expect_put_refused(self->subject, kill_of(self, "", false, 3), STATUS_FAILED_PRECONDITION,
                       "CONTROL_VERSION");
    expect_put_refused(self->subject, kill_of(self, "", false, 2), STATUS_FAILED_PRECONDITION,
                       "CONTROL_VERSION");
    Interlock__Control__V1__Kill *kill = kill_new(KILL_GLOBAL, "", false, 4, &self->memory);
    expect_put_refused(self->subject,
                       dsse_sign_message(self->at.mallory, PAYLOAD_KILL, &kill->base, &self->memory),
                       STATUS_UNAUTHENTICATED, "CONTROL_SIGNATURE");
    expect_put_refused(self->subject,
                       dsse_sign_message(self->at.alice, PAYLOAD_ACTION, &kill->base, &self->memory),
                       STATUS_INVALID_ARGUMENT, "CONTROL_STATEMENT");
    assert_int_equal(put(self->subject, kill_of(self, "", false, 4)), 2);
}

/* ---- Many writers ---- */

#define WRITERS 4U
#define WRITES 6U

typedef struct writer {
    control *into;
    Interlock__Common__V1__Envelope *statements[WRITES];
    uint64_t seqs[WRITES];
    status_code codes[WRITES];
    failure why;
} writer;

static void *write_all(void *argument) {
    writer *self = argument;
    for (size_t i = 0; i < WRITES; i++)
        self->codes[i] = control_put(self->into, self->statements[i], &self->seqs[i], &self->why);
    return NULL;
}

static void concurrent_puts_are_all_counted(void **state) {
    world *self = *state;
    coord *second = coord_new(self);
    control *other = control_new(self, second, NULL);
    writer writers[WRITERS] = {0};
    pthread_t threads[WRITERS];
    for (size_t w = 0; w < WRITERS; w++) {
        writers[w].into = w % 2 == 0 ? self->subject : other;
        for (size_t i = 0; i < WRITES; i++)
            writers[w].statements[i] =
                kill_of(self, arena_format(&self->memory, "agent/%zu-%zu", w, i), true, 1);
        assert_int_equal(pthread_create(&threads[w], NULL, write_all, &writers[w]), 0);
    }
    bool taken[WRITERS * WRITES + 1] = {0};
    for (size_t w = 0; w < WRITERS; w++) {
        pthread_join(threads[w], NULL);
        for (size_t i = 0; i < WRITES; i++) {
            if (writers[w].codes[i] != STATUS_OK)
                fail_msg("%s", writers[w].why.message);
            uint64_t seq = writers[w].seqs[i];
            assert_in_range(seq, 1, WRITERS * WRITES);
            assert_false(taken[seq]);
            assert_true(i == 0 || seq > writers[w].seqs[i - 1]);
            taken[seq] = true;
        }
    }
    WAIT_UNTIL(kills_of(self->subject) == WRITERS * WRITES && kills_of(other) == WRITERS * WRITES);
    assert_int_equal(seq_of(other), WRITERS * WRITES);
    control_close(other);
    coord_close(second);
}

/* ---- Views under threads ---- */

typedef struct reader {
    control *from;
    atomic_bool stop;
    atomic_uint_fast64_t views;
    atomic_bool wrong;
} reader;

/* Kill switches are only added here, one a write, so that every view tells how many it must have. */
static void *read_all(void *argument) {
    reader *self = argument;
    uint64_t last = 0;
    while (!atomic_load(&self->stop)) {
        const control_view *view = control_acquire(self->from);
        bool right = view->kill_count == view->seq && view->seq >= last;
        for (size_t i = 0; i < view->kill_count; i++)
            right = right && strncmp(view->kills[i]->subject, "agent/", 6) == 0;
        last = view->seq;
        control_release(self->from, view);
        if (!right)
            atomic_store(&self->wrong, true);
        atomic_fetch_add(&self->views, 1);
        (void)control_is_fresh(self->from);
    }
    return NULL;
}

static void count_change(void *context, const control_view *view) {
    atomic_uint_fast64_t *highest = context;
    if (view->seq > atomic_load(highest))
        atomic_store(highest, view->seq);
}

static void views_live_as_long_as_they_are_held(void **state) {
    world *self = *state;
    reader readers = {.from = self->subject};
    atomic_uint_fast64_t highest = 0;
    control_on_change(self->subject, count_change, &highest);
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, &readers), 0);
    const control_view *oldest = control_acquire(self->subject);
    for (unsigned i = 1; i <= 12; i++)
        assert_int_equal(
            put(self->subject, kill_of(self, arena_format(&self->memory, "agent/%u", i), true, 1)), i);
    WAIT_UNTIL(atomic_load(&highest) == 12 && atomic_load(&readers.views) > 1000);
    atomic_store(&readers.stop, true);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_false(atomic_load(&readers.wrong));
    assert_int_equal(oldest->seq, 0);
    control_release(self->subject, oldest);
    control_on_change(self->subject, NULL, NULL);
}

/* ---- Coordination that went back ---- */

static void deleted_kill_switch_closes(void **state) {
    world *self = *state;
    Interlock__Common__V1__Envelope *kill = kill_of(self, "", true, 1);
    put(self->subject, kill);
    WAIT_UNTIL(kills_of(self->subject) == 1);
    write_raw(self, "control/kill/global/", NULL);
    WAIT_UNTIL(!control_is_fresh(self->subject));
    assert_true(reason_says(self->subject, "disappeared"));
    assert_int_equal(kills_of(self->subject), 1); /* what was known goes on to hold */

    control *late = control_new(self, self->coordination, NULL); /* it cannot know … */
    assert_int_equal(kills_of(late), 0);
    assert_true(control_is_fresh(late));
    failure why = {0};
    assert_int_equal(control_remember(late, kill, &why), STATUS_OK); /* … until the log tells */
    assert_false(control_is_fresh(late)); /* at once: not only when coordination has been read again */
    WAIT_UNTIL(reason_says(late, "disappeared"));
    assert_false(control_is_fresh(late));

    put(self->subject, kill); /* an operator puts it back */
    WAIT_UNTIL(control_is_fresh(self->subject) && control_is_fresh(late));
    assert_int_equal(kills_of(late), 1);
    assert_int_equal(control_remember(late, kill, &why), STATUS_OK);
    assert_true(control_is_fresh(late));
    control_close(late);
}

static void foreign_writes_close(void **state) {
    world *self = *state;
    put(self->subject, kill_of(self, "", true, 1));
    WAIT_UNTIL(kills_of(self->subject) == 1);
    write_raw(self, "control/policy", "no statement at all");
    WAIT_UNTIL(!control_is_fresh(self->subject));
    assert_true(reason_says(self->subject, "control/policy"));
    control *late = control_new(self, self->coordination, NULL);
    assert_false(control_is_fresh(late)); /* it opens, and defers with the reason */
    assert_true(reason_says(late, "control/policy"));
    assert_int_equal(seq_of(late), 0);
    control_close(late);
    write_raw(self, "control/policy", NULL);
    WAIT_UNTIL(control_is_fresh(self->subject));
}

static void lower_sequence_closes(void **state) {
    world *self = *state;
    put(self->subject, kill_of(self, "agent/a", true, 1));
    put(self->subject, kill_of(self, "agent/a", false, 2));
    WAIT_UNTIL(seq_of(self->subject) == 2);
    write_raw(self, "control/seq", "1");
    WAIT_UNTIL(!control_is_fresh(self->subject));
    assert_true(reason_says(self->subject, "control/seq is 1, but 2"));
    expect_put_refused(self->subject, kill_of(self, "agent/a", true, 3), STATUS_FAILED_PRECONDITION,
                       "CONTROL_ROLLED_BACK");
    write_raw(self, "control/seq", "2");
    WAIT_UNTIL(control_is_fresh(self->subject));
}

static void the_log_sets_a_floor(void **state) {
    world *self = *state;
    put(self->subject, kill_of(self, "agent/a", true, 1));
    WAIT_UNTIL(seq_of(self->subject) == 1 && control_is_fresh(self->subject));
    control_set_floor(self->subject, 1);
    assert_true(control_is_fresh(self->subject));
    control_set_floor(self->subject, 2);
    assert_false(control_is_fresh(self->subject));
    assert_true(reason_says(self->subject, "the log has seen 2"));
    control_set_floor(self->subject, 1); /* never lower */
    assert_false(control_is_fresh(self->subject));
    expect_put_refused(self->subject, kill_of(self, "agent/a", false, 2), STATUS_FAILED_PRECONDITION,
                       "CONTROL_ROLLED_BACK");
}

/* ---- Coordination that does not answer ---- */

/* Another process takes the locks by which SQLite keeps every reader out, until it is killed. */
static pid_t lock_out(const world *self) {
    int told[2];
    assert_int_equal(pipe(told), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int descriptor = open(self->file, O_RDWR);
        struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0x40000000, .l_len = 512};
        char done = descriptor >= 0 && fcntl(descriptor, F_SETLKW, &whole) == 0 ? 'y' : 'n';
        ssize_t ignored = write(told[1], &done, 1);
        (void)ignored;
        poll(NULL, 0, 60000);
        _exit(0);
    }
    char answer = 'n';
    assert_int_equal(read(told[0], &answer, 1), 1);
    assert_int_equal(answer, 'y');
    close(told[0]);
    close(told[1]);
    return child;
}

static void let_in(pid_t child) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void silence_closes_by_time(void **state) {
    world *self = *state;
    put(self->subject, kill_of(self, "agent/a", true, 1));
    WAIT_UNTIL(seq_of(self->subject) == 1 && control_is_fresh(self->subject));
    pid_t child = lock_out(self);
    atomic_fetch_add(&ahead_ns, (uint64_t)CONTROL_FRESH_MS * 1000000U);
    assert_false(control_is_fresh(self->subject));
    assert_false(reason_says(self->subject, "rolled back"));
    assert_true(control_proof_age_ms(self->subject) >= CONTROL_FRESH_MS);
    assert_int_equal(kills_of(self->subject), 1);
    let_in(child);
    WAIT_UNTIL(control_is_fresh(self->subject));
}

static void opening_a_silent_store_fails(void **state) {
    world *self = *state;
    pid_t child = lock_out(self);
    control *out = NULL;
    failure why = {0};
    assert_int_equal(control_open(&out, self->coordination, &self->at.roots, NULL, &shifted, &why),
                     STATUS_UNAVAILABLE);
    assert_string_equal(why.reason, "CONTROL_UNREADABLE");
    assert_null(out);
    let_in(child);
    assert_int_equal(control_open(&out, self->coordination, &self->at.roots, "a/b", &shifted, &why),
                     STATUS_INVALID_ARGUMENT);
}

/* ---- Replicas ---- */

static Interlock__Control__V1__Replica *replica_named(world *self, const char *id) {
    Interlock__Control__V1__Replica **list = NULL;
    size_t count = 0;
    failure why = {0};
    if (control_replicas(self->subject, &self->memory, &list, &count, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i]->id, id) == 0)
            return list[i];
    return NULL;
}

static bool replica_is(world *self, const char *id, Interlock__Control__V1__ReplicaState state,
                       uint64_t seq) {
    const Interlock__Control__V1__Replica *found = replica_named(self, id);
    return found != NULL && found->state == state && found->applied_seq == seq;
}

static void replicas_announce_themselves(void **state) {
    world *self = *state;
    control *two = control_new(self, self->coordination, "two");
    put(self->subject, kill_of(self, "", true, 1));
    WAIT_UNTIL(replica_is(self, "one", INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_CONFIRMED, 1));
    WAIT_UNTIL(replica_is(self, "two", INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_CONFIRMED, 1));
    control_close(two);
    assert_null(replica_named(self, "two"));

    /* One that stopped in the middle: nobody knows, until it must have closed by itself. */
    char boot[37], text[160];
    boot_id_read(boot);
    snprintf(text, sizeof text, "1 0 %s %llu %lld", boot, (unsigned long long)chance_boot_ns(&shifted),
             (long long)chance_wall_ms(&shifted));
    write_raw(self, "replicas/policy/stopped", text);
    assert_true(replica_is(self, "stopped", INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_UNKNOWN, 0));
    atomic_fetch_add(&ahead_ns, (uint64_t)CONTROL_FRESH_MS * 1000000U);
    assert_true(
        replica_is(self, "stopped", INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_SELF_CLOSED, 0));
    write_raw(self, "replicas/policy/junk", "junk");
    assert_true(replica_is(self, "junk", INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_UNKNOWN, 0));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, world_make, world_free)

int main(void) {
    const struct CMUnitTest tests[] = {CASE(what_is_put_is_seen),
                                       CASE(puts_are_verified_and_only_rise),
                                       CASE(concurrent_puts_are_all_counted),
                                       CASE(views_live_as_long_as_they_are_held),
                                       CASE(deleted_kill_switch_closes),
                                       CASE(foreign_writes_close),
                                       CASE(lower_sequence_closes),
                                       CASE(the_log_sets_a_floor),
                                       CASE(silence_closes_by_time),
                                       CASE(opening_a_silent_store_fails),
                                       CASE(replicas_announce_themselves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
