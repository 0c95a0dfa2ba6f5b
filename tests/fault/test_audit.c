/* A group of appends when memory runs out at any point, in the log or in SQLite: it is in the log as a whole
 * or not at all, and sent again it is there once. */
#include "audit_fixture.h"

#include "fail_allocation.h"
#include "verify.h"

#define GROUP 4U

static fixture *self;
static append *group[GROUP];
static append_result results[GROUP];
static uint64_t size_before, fence_before;
static char note_before[NOTE_MAX_BYTES];

/* A new action, one that goes on, a fence, and a charge. */
static void begin(void *context) {
    (void)context;
    self = fixture_new(3);
    fixture_open(self);
    append_result first = append_decision(self, "old", 0, "first");
    Interlock__Audit__V1__AppendRequest *requests[GROUP] = {
        request_new(self, KIND(DECISION), "new", 0, "ALLOW", "new"),
        request_new(self, KIND(OUTCOME), "old", first.index, "HEALTHY", "second"),
        request_new(self, KIND(KILL), "", 0, "SET", "kill"),
        request_new(self, KIND(DECISION), "charged", 0, "DENY", "charged"),
    };
    requests[2]->control_seq = 5;
    request_charge(self, requests[3], "counter", 1, 60000, 1);
    for (size_t i = 0; i < GROUP; i++)
        group[i] = prepare(requests[i]);
    size_before = audit_log_size(self->log);
    fence_before = audit_log_fence(self->log);
    snprintf(note_before, sizeof note_before, "%s", audit_log_note(self->log));
}

static void end(void *context) {
    (void)context;
    for (size_t i = 0; i < GROUP; i++)
        append_free(group[i]);
    fixture_free(self);
}

static void assert_verifies(void) {
    failure why = {0};
    audit_store reader;
    Interlock__Audit__V1__VerifyResponse found = INTERLOCK__AUDIT__V1__VERIFY_RESPONSE__INIT;
    verify_options options = {.roots = &self->roots, .published = audit_log_published(self->log)};
    assert_int_equal(audit_store_open_reader(&reader, audit_log_database(self->log), &why), STATUS_OK);
    assert_int_equal(log_verify(&reader, &options, &self->memory, &found, &why), STATUS_OK);
    if (!found.ok)
        fail_msg("does not verify: %s", found.problems[0]);
    assert_int_equal(found.tree_size, audit_log_size(self->log));
    audit_store_close(&reader);
}

static status_code appended;

static status_code append_group(void *context, failure *why) {
    (void)context;
    appended = audit_log_append(self->log, group, GROUP, results, why);
    return appended;
}

/* The COMMIT itself failed: the process would end, and the next one finds the group as a whole or not at all.
 */
static void check_after_loss(void) {
    fixture_reopen(self);
    uint64_t size = audit_log_size(self->log);
    assert_true(size == size_before || size == size_before + GROUP);
    assert_verifies();
}

/* A counter for which there is no memory refuses its append alone, and says that it may be sent again. */
static void send_refused_again(void) {
    failure why = {0};
    append_result *last = &results[GROUP - 1];
    if (last->outcome != APPEND_REFUSED)
        return;
    assert_int_equal(last->reason, REFUSED(UNAVAILABLE));
    assert_int_equal(audit_log_size(self->log), size_before + GROUP - 1);
    assert_int_equal(audit_log_append(self->log, &group[GROUP - 1], 1, last, &why), STATUS_OK);
}

static void check(void *context, bool done) {
    (void)context;
    if (!done && appended == STATUS_DATA_LOSS) {
        check_after_loss();
        return;
    }
    if (!done) {
        assert_int_equal(audit_log_size(self->log), size_before);
        assert_int_equal(audit_log_fence(self->log), fence_before);
        assert_string_equal(audit_log_note(self->log), note_before);
        assert_verifies();
        return;
    }
    send_refused_again();
    assert_int_equal(audit_log_size(self->log), size_before + GROUP);
    assert_int_equal(audit_log_fence(self->log), 5);
    for (size_t i = 0; i < GROUP; i++) {
        assert_int_equal(results[i].outcome, APPEND_ADDED);
        assert_int_equal(results[i].index, size_before + i);
        assert_receipt(self, answer(self, &results[i])->receipt, NULL);
    }
    assert_verifies();
    /* The charge that was taken back is not counted, and the one that stands is. */
    Interlock__Audit__V1__AppendRequest *more = request_new(self, KIND(DECISION), "more", 0, "DENY", "more");
    request_charge(self, more, "counter", 1, 60000, 1);
    append_result refused = append_request(self, more);
    assert_int_equal(refused.outcome, APPEND_REFUSED);
}

static void a_group_is_appended_whole_or_not_at_all(void **state) {
    (void)state;
    fail_each_allocation(&(fault_case){.name = "audit_log_append",
                                       .begin = begin,
                                       .end = end,
                                       .run = append_group,
                                       .check = check,
                                       .may_do_without = true});
}

/* ---- Answers ---- */

static Interlock__Audit__V1__AppendResponse response;
static arena answers;
static size_t answered;

static void begin_answer(void *context) {
    failure why = {0};
    begin(context);
    assert_int_equal(append_group(context, &why), STATUS_OK);
    if (answered == GROUP) { /* a conflict, which holds a whole entry */
        append *late = prepare(request_new(self, KIND(DECISION), "new", 0, "DENY", "too late"));
        assert_int_equal(audit_log_append(self->log, &late, 1, results, &why), STATUS_OK);
        assert_int_equal(results[0].outcome, APPEND_CONFLICT);
        append_free(late);
    }
    arena_init(&answers, 64, 1U << 20);
    interlock__audit__v1__append_response__init(&response);
}

static void end_answer(void *context) {
    arena_free(&answers);
    end(context);
}

static status_code answer_one(void *context, failure *why) {
    (void)context;
    return audit_log_answer(self->log, &results[answered % GROUP], &answers, &response, why);
}

static void check_answer(void *context, bool done) {
    (void)context;
    if (!done)
        assert_int_equal(response.result_case, INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT__NOT_SET);
    else if (answered == GROUP)
        assert_receipt(self, response.conflict->receipt, response.conflict->latest->record);
    else
        assert_receipt(self, response.receipt, NULL);
}

static void an_answer_is_whole_or_none(void **state) {
    (void)state;
    for (answered = 1; answered <= GROUP; answered += GROUP - 1)
        fail_each_allocation(&(fault_case){.name = answered == GROUP ? "answer, conflict" : "answer, receipt",
                                           .begin = begin_answer,
                                           .end = end_answer,
                                           .run = answer_one,
                                           .check = check_answer,
                                           .memory = &answers,
                                           .may_do_without = true});
}

/* ---- Opening ---- */

static void begin_open(void *context) {
    failure why = {0};
    begin(context);
    assert_int_equal(append_group(context, &why), STATUS_OK);
    fixture_close(self);
}

static status_code open_log(void *context, failure *why) {
    (void)context;
    return audit_log_open(&self->log, &self->options, why);
}

static void check_open(void *context, bool done) {
    (void)context;
    if (!done) {
        assert_null(self->log);
        return;
    }
    assert_int_equal(audit_log_size(self->log), size_before + GROUP);
    assert_int_equal(audit_log_fence(self->log), 5);
    assert_verifies();
}

static void a_log_opens_or_stays_as_it_was(void **state) {
    (void)state;
    fail_each_allocation(&(fault_case){.name = "audit_log_open",
                                       .begin = begin_open,
                                       .end = end,
                                       .run = open_log,
                                       .check = check_open,
                                       .may_do_without = true});
}

static int set_up(void **state) {
    (void)state;
    return setenv("TMPDIR", fast_folder(), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_is_appended_whole_or_not_at_all),
        cmocka_unit_test(an_answer_is_whole_or_none),
        cmocka_unit_test(a_log_opens_or_stays_as_it_was),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
