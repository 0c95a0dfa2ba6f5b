/* Random appends against a model of the rules, with restarts between them; and a process that is killed while
 * it appends: everything that it was told is durable is there, and the log verifies. INTERLOCK_TEST_SEED
 * repeats a run. */
#include "audit_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "verify.h"

#define ACTIONS 12U
#define RECORDS_MAX 6000U
#define COUNTER_CAP 20U
#define COUNTER_WINDOW_MS 2000U

/* What must be true, kept the simplest way. */
typedef struct model_record {
    unsigned action;
    uint64_t previous;
    unsigned content;
} model_record;

typedef struct model {
    uint64_t size;
    model_record records[RECORDS_MAX];
    uint64_t latest[ACTIONS];
    uint64_t fence;
    size_t charge_count;
    uint64_t charged_ns[RECORDS_MAX];
} model;

typedef struct attempt {
    unsigned action, content;
    uint64_t expect, control_seq;
    bool permit, charged, fence;
    char id[32], text[32];
} attempt;

static model truth;

static uint64_t draw(fixture *self, uint64_t below) {
    uint64_t value;
    chance_random(&self->world.chance, (uint8_t *)&value, sizeof value);
    return value % below;
}

static attempt attempt_draw(fixture *self, unsigned step) {
    attempt one = {.action = (unsigned)draw(self, ACTIONS), .content = (unsigned)draw(self, 3)};
    uint64_t latest = truth.latest[one.action];
    switch (draw(self, 4)) {
    case 0:
        one.expect = 0;
        break;
    case 1: /* a retry of something old */
        one.expect = latest == 0 ? 0 : truth.records[latest].previous;
        break;
    default:
        one.expect = latest;
        break;
    }
    one.fence = draw(self, 40) == 0;
    one.permit = draw(self, 3) == 0;
    one.charged = draw(self, 3) == 0;
    one.control_seq = truth.fence + draw(self, 3) - (truth.fence > 0 ? 1 : 0);
    snprintf(one.id, sizeof one.id, "action-%u", one.action);
    if (one.fence)
        snprintf(one.text, sizeof one.text, "kill %u", step);
    else
        snprintf(one.text, sizeof one.text, "content %u", one.content);
    return one;
}

static append *attempt_prepare(fixture *self, const attempt *one) {
    Interlock__Audit__V1__AppendRequest *request =
        one->fence ? request_new(self, KIND(KILL), "", 0, "SET", one->text)
                   : request_new(self, KIND(DECISION), one->id, one->expect, one->permit ? "ALLOW" : "DENY",
                                 one->text);
    request->control_seq = one->control_seq;
    request->permits = one->permit && !one->fence;
    if (one->charged)
        request_charge(self, request, "counter", COUNTER_CAP, COUNTER_WINDOW_MS, 1);
    return prepare(request);
}

static const model_record *model_successor(const attempt *one, uint64_t *index) {
    for (uint64_t i = 1; i < truth.size; i++)
        if (truth.records[i].action == one->action && truth.records[i].previous == one->expect) {
            *index = i;
            return &truth.records[i];
        }
    return NULL;
}

static void model_add(const attempt *one, uint64_t now_ns) {
    uint64_t index = truth.size++;
    assert_true(truth.size < RECORDS_MAX);
    truth.records[index] = (model_record){
        .action = one->fence ? ACTIONS : one->action, .previous = one->expect, .content = one->content};
    if (one->fence)
        truth.fence = one->control_seq > truth.fence ? one->control_seq : truth.fence;
    else
        truth.latest[one->action] = index;
    if (one->charged)
        truth.charged_ns[truth.charge_count++] = now_ns;
}

static uint64_t model_in_window(uint64_t window_ms, uint64_t now_ns) {
    uint64_t sum = 0;
    for (size_t i = 0; i < truth.charge_count; i++)
        sum += truth.charged_ns[i] + window_ms * 1000000ULL >= now_ns;
    return sum;
}

/* The counter may refuse a little early (its buckets are coarse), never late; everything else is exact. */
static void assert_as_in_model(const attempt *one, const append_result *result, uint64_t now_ns) {
    uint64_t index = 0;
    const model_record *taken = one->fence ? NULL : model_successor(one, &index);
    if (taken != NULL) {
        bool same = taken->content == one->content;
        assert_int_equal(result->outcome, same ? APPEND_REPEATED : APPEND_CONFLICT);
        assert_int_equal(result->index, same ? index : truth.latest[one->action]);
        return;
    }
    if (!one->fence && one->permit && one->control_seq < truth.fence) {
        assert_int_equal(result->outcome, APPEND_REFUSED);
        assert_int_equal(result->reason, REFUSED(FENCED));
        return;
    }
    if (result->outcome == APPEND_REFUSED) {
        assert_true(one->charged);
        assert_int_equal(result->reason, REFUSED(COUNTER_EXHAUSTED));
        assert_true(model_in_window(COUNTER_WINDOW_MS * 11 / 10, now_ns) >= COUNTER_CAP);
        return;
    }
    assert_int_equal(result->outcome, APPEND_ADDED);
    assert_int_equal(result->index, truth.size);
    model_add(one, now_ns);
    if (one->charged)
        assert_true(model_in_window(COUNTER_WINDOW_MS, now_ns) <= COUNTER_CAP);
}

static void append_some(fixture *self, unsigned *step) {
    attempt attempts[8];
    append *group[8];
    static append_result results[8];
    failure why = {0};
    size_t count = 1 + draw(self, 8);
    for (size_t i = 0; i < count; i++) {
        attempts[i] = attempt_draw(self, (*step)++);
        group[i] = attempt_prepare(self, &attempts[i]);
    }
    assert_int_equal(audit_log_append(self->log, group, count, results, &why), STATUS_OK);
    for (size_t i = 0; i < count; i++) {
        assert_as_in_model(&attempts[i], &results[i], self->world.boot_ns);
        Interlock__Audit__V1__AppendResponse *told = answer(self, &results[i]);
        if (told->result_case == INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_RECEIPT && draw(self, 8) == 0)
            assert_receipt(self, told->receipt, NULL);
        append_free(group[i]);
    }
    assert_int_equal(audit_log_size(self->log), truth.size);
}

static void assert_verifies(fixture *self) {
    failure why = {0};
    audit_store reader;
    Interlock__Audit__V1__VerifyResponse found = INTERLOCK__AUDIT__V1__VERIFY_RESPONSE__INIT;
    verify_options options = {.roots = &self->roots, .published = audit_log_published(self->log)};
    assert_int_equal(audit_store_open_reader(&reader, audit_log_database(self->log), &why), STATUS_OK);
    if (log_verify(&reader, &options, &self->memory, &found, &why) != STATUS_OK)
        fail_msg("cannot verify: %s", why.message);
    if (!found.ok)
        fail_msg("does not verify: %s", found.problems[0]);
    audit_store_close(&reader);
}

static uint64_t first_seed(void) {
    const char *given = getenv("INTERLOCK_TEST_SEED");
    return given != NULL ? strtoull(given, NULL, 10) : 20261;
}

static void run_seed(uint64_t seed) {
    print_message("seed %llu\n", (unsigned long long)seed);
    fixture *self = fixture_new(seed);
    memset(&truth, 0, sizeof truth);
    truth.size = 1;
    fixture_open(self);
    unsigned step = 0;
    for (unsigned round = 0; round < 150; round++) {
        append_some(self, &step);
        arena_reset(&self->memory);
        simulated_chance_advance(&self->world, draw(self, 400) * 1000000);
        if (draw(self, 15) == 0)
            fixture_reopen(self);
    }
    assert_verifies(self);
    fixture_free(self);
}

static void random_appends_follow_the_rules(void **state) {
    (void)state;
    uint64_t seed = first_seed();
    for (uint64_t i = 0; i < 6; i++)
        run_seed(seed + i);
}

/* Appends until it is killed, and says over the pipe what was acknowledged. */
static void append_until_killed(fixture *self, int out) {
    fixture_open(self);
    for (unsigned i = 0; i < 100000; i++) {
        char id[32], text[64];
        snprintf(id, sizeof id, "killed-%u-%llu", i, (unsigned long long)audit_log_term(self->log));
        snprintf(text, sizeof text, "%s", id);
        append_result result = append_decision(self, id, 0, text);
        uint64_t said = result.index;
        if (result.outcome != APPEND_ADDED || write(out, &said, sizeof said) != (ssize_t)sizeof said)
            _exit(1);
        arena_reset(&self->memory);
    }
    _exit(0);
}

static uint64_t kill_one_writer(fixture *self, unsigned acknowledgements) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        append_until_killed(self, ends[1]);
    }
    close(ends[1]);
    uint64_t said = 0, last = 0;
    for (unsigned i = 0; i < acknowledgements; i++) {
        assert_int_equal(read(ends[0], &said, sizeof said), sizeof said);
        last = said;
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    while (read(ends[0], &said, sizeof said) == (ssize_t)sizeof said)
        last = said; /* what it still said before it died */
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFSIGNALED(result));
    close(ends[0]);
    return last;
}

static void what_was_acknowledged_survives_a_kill(void **state) {
    (void)state;
    fixture *self = fixture_new(7);
    for (unsigned round = 0; round < 5; round++) {
        uint64_t last = kill_one_writer(self, 5 + 9 * round);
        fixture_open(self);
        assert_int_equal(audit_log_term(self->log), 2 * round + 2);
        assert_true(audit_log_size(self->log) > last);
        assert_verifies(self);
        fixture_close(self);
        arena_reset(&self->memory);
    }
    fixture_free(self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_appends_follow_the_rules),
        cmocka_unit_test(what_was_acknowledged_survives_a_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
