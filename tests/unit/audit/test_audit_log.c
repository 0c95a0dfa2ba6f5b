/* The log's rules, one by one, against a real database. */
#include "audit_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "files.h"

static void a_new_log_begins_with_its_genesis(void **state) {
    fixture *self = *state;
    failure why = {0};
    Interlock__Audit__V1__Entry *first = NULL;
    Interlock__Audit__V1__Leaf *leaf = NULL;
    assert_int_equal(audit_log_size(self->log), 1);
    assert_int_equal(entry_read(audit_log_store(self->log), 0, &self->memory, &first, &why), STATUS_OK);
    assert_int_equal(leaf_parse(bytes_of(first->leaf.data, first->leaf.len), &self->memory, &leaf, &why),
                     STATUS_OK);
    assert_int_equal(leaf->kind, KIND(GENESIS));
    assert_string_equal(leaf->keyid, self->roots.keys[0].key.keyid);
    assert_true(leaf_opens(leaf, bytes_of(first->salt.data, first->salt.len), first->record));
    assert_int_equal(audit_log_term(self->log), 1);
    fixture_reopen(self);
    assert_int_equal(audit_log_size(self->log), 1);
    assert_int_equal(audit_log_term(self->log), 2);
}

static void an_action_is_claimed_once_and_goes_on_from_its_latest(void **state) {
    fixture *self = *state;
    append_result first = append_decision(self, "a", 0, "one");
    assert_int_equal(first.outcome, APPEND_ADDED);
    append_result second = append_decision(self, "a", first.index, "two");
    assert_int_equal(second.outcome, APPEND_ADDED);
    append_result late = append_decision(self, "a", first.index, "other");
    assert_int_equal(late.outcome, APPEND_CONFLICT);
    assert_int_equal(late.index, second.index);
    append_result claim = append_decision(self, "a", 0, "other");
    assert_int_equal(claim.outcome, APPEND_CONFLICT);
    assert_int_equal(claim.index, second.index);
    append_result elsewhere = append_decision(self, "a", 0x7fff, "other");
    assert_int_equal(elsewhere.outcome, APPEND_CONFLICT);
    append_result nothing = append_decision(self, "b", first.index, "other");
    assert_int_equal(nothing.outcome, APPEND_REFUSED);
    assert_int_equal(nothing.reason, REFUSED(INVALID));
    assert_int_equal(audit_log_size(self->log), 3);
    Interlock__Audit__V1__AppendResponse *told = answer(self, &late);
    assert_int_equal(told->result_case, INTERLOCK__AUDIT__V1__APPEND_RESPONSE__RESULT_CONFLICT);
    assert_int_equal(told->conflict->latest->index, second.index);
    assert_memory_equal(told->conflict->latest->record->payload.data, "two", 3);
    assert_receipt(self, told->conflict->receipt, told->conflict->latest->record);
}

static void the_same_append_again_gets_its_receipt_again(void **state) {
    fixture *self = *state;
    append_result first = append_decision(self, "a", 0, "one");
    append_result second = append_decision(self, "a", first.index, "two");
    for (unsigned i = 0; i < 2; i++) {
        append_result again = append_decision(self, "a", 0, "one"); /* though the action has moved on */
        assert_int_equal(again.outcome, APPEND_REPEATED);
        assert_int_equal(again.index, first.index);
        again = append_decision(self, "a", first.index, "two");
        assert_int_equal(again.outcome, APPEND_REPEATED);
        assert_int_equal(again.index, second.index);
        fixture_reopen(self);
    }
    append_result again = append_decision(self, "a", 0, "one");
    Interlock__Audit__V1__AppendRequest *request = request_new(self, KIND(DECISION), "a", 0, "DENY", "one");
    assert_receipt(self, answer(self, &again)->receipt, request->record);
    assert_int_equal(audit_log_size(self->log), 3);
}

static void a_control_write_is_known_by_its_payload(void **state) {
    fixture *self = *state;
    append_result first = append_request(self, request_new(self, KIND(CONTROL), "", 7, "ENROLMENT", "key"));
    assert_int_equal(first.outcome, APPEND_ADDED);
    append_result again = append_request(self, request_new(self, KIND(CONTROL), "", 0, "ENROLMENT", "key"));
    assert_int_equal(again.outcome, APPEND_REPEATED);
    assert_int_equal(again.index, first.index);
    append_result other = append_request(self, request_new(self, KIND(CONTROL), "", 0, "ENROLMENT", "key 2"));
    assert_int_equal(other.outcome, APPEND_ADDED);
}

static void a_group_is_decided_in_order(void **state) {
    fixture *self = *state;
    failure why = {0};
    Interlock__Audit__V1__AppendRequest *kill_set = request_new(self, KIND(KILL), "", 0, "SET", "kill");
    kill_set->control_seq = 10;
    Interlock__Audit__V1__AppendRequest *stale = request_new(self, KIND(DECISION), "c", 0, "ALLOW", "permit");
    stale->permits = true;
    stale->control_seq = 9;
    append *group[] = {prepare(request_new(self, KIND(DECISION), "a", 0, "DENY", "one")),
                       prepare(request_new(self, KIND(DECISION), "a", 0, "DENY", "one")),
                       prepare(request_new(self, KIND(DECISION), "a", 0, "DENY", "two")),
                       prepare(request_new(self, KIND(DECISION), "a", 1, "DENY", "three")),
                       prepare(kill_set),
                       prepare(stale)};
    static const append_outcome expected[] = {APPEND_ADDED, APPEND_REPEATED, APPEND_CONFLICT,
                                              APPEND_ADDED, APPEND_ADDED,    APPEND_REFUSED};
    append_result results[6];
    assert_int_equal(audit_log_append(self->log, group, 6, results, &why), STATUS_OK);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(results[i].outcome, expected[i]);
        answer(self, &results[i]);
        append_free(group[i]);
    }
    assert_int_equal(results[1].index, 1);
    assert_int_equal(results[3].index, 2);
    assert_int_equal(results[5].reason, REFUSED(FENCED));
    assert_int_equal(audit_log_size(self->log), 4);
    assert_receipt(self, answer(self, &results[0])->receipt, NULL);
}

static append_outcome append_permit(fixture *self, const char *action_id, uint64_t control_seq) {
    Interlock__Audit__V1__AppendRequest *request =
        request_new(self, KIND(DECISION), action_id, 0, "ALLOW", action_id);
    request->permits = true;
    request->control_seq = control_seq;
    append_result result = append_request(self, request);
    if (result.outcome == APPEND_REFUSED)
        assert_int_equal(result.reason, REFUSED(FENCED));
    return result.outcome;
}

static void append_kill(fixture *self, const char *verdict, uint64_t control_seq) {
    char content[64];
    snprintf(content, sizeof content, "%s %llu", verdict, (unsigned long long)control_seq);
    Interlock__Audit__V1__AppendRequest *request = request_new(self, KIND(KILL), "", 0, verdict, content);
    request->control_seq = control_seq;
    append_result result = append_request(self, request);
    assert_int_equal(result.outcome, APPEND_ADDED);
}

static void a_fence_holds_back_older_permits(void **state) {
    fixture *self = *state;
    assert_int_equal(append_permit(self, "before", 1), APPEND_ADDED);
    append_kill(self, "SET", 5);
    assert_int_equal(append_permit(self, "older", 4), APPEND_REFUSED);
    assert_int_equal(append_permit(self, "equal", 5), APPEND_ADDED);
    assert_int_equal(append_permit(self, "before", 1), APPEND_REPEATED); /* it is in the log already */
    append_kill(self, "CLEAR", 9);
    assert_int_equal(append_permit(self, "cleared", 6), APPEND_ADDED); /* only a SET is a fence */
    append_kill(self, "SET", 3); /* late and lower: the highest counts */
    assert_int_equal(append_permit(self, "older", 4), APPEND_REFUSED);
    fixture_reopen(self);
    assert_int_equal(audit_log_fence(self->log), 5);
    assert_int_equal(append_permit(self, "older", 4), APPEND_REFUSED);
    append_result denial = append_decision(self, "denied", 0, "a denial needs no fence");
    assert_int_equal(denial.outcome, APPEND_ADDED);
}

static append_result append_charged(fixture *self, const char *action_id, uint64_t cap) {
    Interlock__Audit__V1__AppendRequest *request =
        request_new(self, KIND(DECISION), action_id, 0, "DENY", action_id);
    request_charge(self, request, "rate", cap, 10000, 1);
    return append_request(self, request);
}

static void counters_hold_over_restarts_and_boots(void **state) {
    fixture *self = *state;
    assert_int_equal(append_charged(self, "a", 2).outcome, APPEND_ADDED);
    assert_int_equal(append_charged(self, "a", 2).outcome, APPEND_REPEATED); /* charged once */
    assert_int_equal(append_charged(self, "b", 2).outcome, APPEND_ADDED);
    append_result third = append_charged(self, "c", 2);
    assert_int_equal(third.outcome, APPEND_REFUSED);
    assert_int_equal(third.reason, REFUSED(COUNTER_EXHAUSTED));
    assert_in_range(third.retry_after_ms, 10000, 11001);
    fixture_reopen(self);
    assert_int_equal(append_charged(self, "c", 2).outcome, APPEND_REFUSED);
    simulated_chance_advance(&self->world, 9000U * 1000000ULL);
    self->options.boot_id = "another";
    fixture_reopen(self);
    simulated_chance_advance(&self->world, 5000U * 1000000ULL);
    assert_int_equal(append_charged(self, "c", 2).outcome,
                     APPEND_REFUSED); /* as if charged at the new boot */
    simulated_chance_advance(&self->world, 6001U * 1000000ULL);
    assert_int_equal(append_charged(self, "c", 2).outcome, APPEND_ADDED);
    self->options.boot_id = FIXTURE_BOOT;
}

static void leaves_never_run_backwards_in_time(void **state) {
    fixture *self = *state;
    append_decision(self, "a", 0, "one");
    self->world.wall_ns -= 3600000000000;
    append_decision(self, "b", 0, "two");
    fixture_reopen(self);
    append_decision(self, "c", 0, "three");
    int64_t before = 0;
    for (uint64_t i = 0; i < audit_log_size(self->log); i++) {
        failure why;
        bytes packed;
        Interlock__Audit__V1__Leaf *leaf = NULL;
        assert_int_equal(
            audit_store_read_leaf(audit_log_store(self->log), i, &self->memory, &packed, NULL, &why),
            STATUS_OK);
        assert_int_equal(leaf_parse(packed, &self->memory, &leaf, &why), STATUS_OK);
        assert_true(leaf->recorded_at_ms >= before);
        before = leaf->recorded_at_ms;
    }
}

static void every_index_proves_at_every_size(void **state) {
    fixture *self = *state;
    failure why = {0};
    for (unsigned i = 0; i < 70; i++) {
        char id[16];
        snprintf(id, sizeof id, "a%u", i);
        append_decision(self, id, 0, id);
    }
    fixture_reopen(self);
    audit_store *from = audit_log_store(self->log);
    uint64_t size = audit_log_size(self->log);
    for (uint64_t tree = 1; tree <= size; tree++) {
        merkle_frontier frontier;
        merkle_hash root;
        assert_int_equal(merkle_frontier_load(&frontier, tree, audit_store_read_node, from, &why), STATUS_OK);
        merkle_frontier_root(&frontier, &root);
        for (uint64_t index = 0; index < tree; index++) {
            merkle_proof proof;
            merkle_hash leaf;
            assert_true(audit_store_read_node(from, (merkle_node){.level = 0, .index = index}, &leaf));
            assert_int_equal(merkle_prove_inclusion(index, tree, audit_store_read_node, from, &proof, &why),
                             STATUS_OK);
            assert_true(merkle_verify_inclusion(&leaf, index, tree, &proof, &root));
        }
    }
    for (unsigned i = 0; i < 70; i++) { /* and as receipts, through the hashes in memory */
        char id[16];
        snprintf(id, sizeof id, "a%u", i);
        append_result again = append_decision(self, id, 0, id);
        assert_int_equal(again.outcome, APPEND_REPEATED);
        assert_receipt(self, answer(self, &again)->receipt, NULL);
    }
}

static void a_second_writer_is_refused(void **state) {
    fixture *self = *state;
    failure why = {0};
    audit_log *other = NULL;
    assert_int_equal(audit_log_open(&other, &self->options, &why), STATUS_FAILED_PRECONDITION);
    assert_string_equal(why.reason, "LOG_LOCKED");
    assert_null(other);
    assert_int_equal(append_decision(self, "a", 0, "one").outcome, APPEND_ADDED);
}

static void copy_file(const char *from, const char *to) {
    char command[512];
    snprintf(command, sizeof command, "cp %s %s", from, to);
    assert_int_equal(system(command), 0);
}

static void expect_open_failure(fixture *self, status_code code, const char *reason) {
    failure why = {0};
    audit_log *refused = NULL;
    assert_int_equal(audit_log_open(&refused, &self->options, &why), code);
    assert_string_equal(why.reason, reason);
    assert_null(refused);
}

static void an_older_database_is_refused_until_a_new_epoch(void **state) {
    fixture *self = *state;
    char database[128], copy[128];
    snprintf(database, sizeof database, "%s/log.db", self->directory);
    snprintf(copy, sizeof copy, "%s/copy.db", self->directory);
    append_decision(self, "a", 0, "one");
    fixture_close(self);
    copy_file(database, copy);
    fixture_open(self);
    append_decision(self, "b", 0, "two");
    uint64_t epoch = audit_log_epoch(self->log);
    fixture_close(self);
    copy_file(copy, database);
    expect_open_failure(self, STATUS_DATA_LOSS, "LOG_ROLLED_BACK");
    failure why = {0};
    assert_int_equal(audit_log_check(&self->options, &why), STATUS_DATA_LOSS);
    assert_string_equal(why.reason, "LOG_ROLLED_BACK");
    unlink(database);
    expect_open_failure(self, STATUS_DATA_LOSS, "LOG_ROLLED_BACK"); /* an empty one is older still */
    unlink(database);
    copy_file(copy, database);
    self->options.new_epoch = true;
    for (uint64_t times = 1; times <= 2; times++) {
        fixture_open(self);
        assert_int_equal(audit_log_epoch(self->log), epoch + times);
        assert_int_equal(append_decision(self, "c", 0, "three").outcome, APPEND_ADDED);
        fixture_close(self);
        copy_file(copy, database); /* the same copy again: no epoch is used twice */
    }
    fixture_open(self);
    self->options.new_epoch = false;
    fixture_reopen(self);
    assert_int_equal(audit_log_epoch(self->log), epoch + 3);
}

static void another_history_is_refused(void **state) {
    fixture *self = *state;
    char database[128], copy[128], published[128];
    snprintf(database, sizeof database, "%s/log.db", self->directory);
    snprintf(copy, sizeof copy, "%s/copy.db", self->directory);
    snprintf(published, sizeof published, "%s/published", self->directory);
    fixture_close(self);
    copy_file(database, copy);
    fixture_open(self);
    append_decision(self, "a", 0, "one");
    fixture_close(self);
    char now[128];
    snprintf(now, sizeof now, "%s/checkpoint", self->directory);
    copy_file(now, published);
    copy_file(copy, database);
    unlink(now);
    fixture_open(self);
    append_decision(self, "a", 0, "a different past");
    append_decision(self, "b", 0, "and longer");
    fixture_close(self);
    copy_file(published, now);
    expect_open_failure(self, STATUS_DATA_LOSS, "LOG_ROLLED_BACK");
}

static void another_installations_log_is_refused(void **state) {
    fixture *self = *state;
    fixture_close(self);
    char published[128];
    snprintf(published, sizeof published, "%s/checkpoint", self->directory);
    unlink(published);
    snprintf(self->roots.installation, sizeof self->roots.installation, "other");
    expect_open_failure(self, STATUS_FAILED_PRECONDITION, "LOG_FOREIGN");
    self->roots.count = 0;
    expect_open_failure(self, STATUS_FAILED_PRECONDITION, "CHECKPOINT_KEY_UNKNOWN");
}

static void a_changed_tree_is_noticed_at_the_start(void **state) {
    fixture *self = *state;
    append_decision(self, "a", 0, "one");
    append_decision(self, "b", 0, "two");
    failure why = {0};
    char published[128];
    snprintf(published, sizeof published, "%s/checkpoint", self->directory);
    assert_int_equal(store_execute(&audit_log_store(self->log)->base,
                                   "UPDATE entry SET hashes = zeroblob(length(hashes)) WHERE position = 2",
                                   &why),
                     STATUS_OK);
    fixture_close(self);
    unlink(published);
    expect_open_failure(self, STATUS_DATA_LOSS, "LOG_DAMAGED");
}

static void erasure_leaves_the_log_whole(void **state) {
    fixture *self = *state;
    failure why = {0};
    append_result first = append_decision(self, "a", 0, "personal words");
    append_result second =
        append_request(self, request_new(self, KIND(CONTROL), "", 0, "ENROLMENT", "personal key"));
    assert_int_equal(audit_store_erase(audit_log_store(self->log), first.index, &why), STATUS_OK);
    assert_int_equal(audit_store_erase(audit_log_store(self->log), second.index, &why), STATUS_OK);
    assert_int_equal(audit_store_erase(audit_log_store(self->log), second.index, &why), STATUS_NOT_FOUND);
    fixture_reopen(self);
    Interlock__Audit__V1__Entry *entry = NULL;
    assert_int_equal(entry_read(audit_log_store(self->log), first.index, &self->memory, &entry, &why),
                     STATUS_OK);
    assert_null(entry->record);
    assert_int_equal(entry->salt.len, 0);
    append_result again = append_decision(self, "a", 0, "personal words"); /* nobody can tell any more */
    assert_int_equal(again.outcome, APPEND_CONFLICT);
    Interlock__Audit__V1__AppendResponse *told = answer(self, &again);
    assert_null(told->conflict->latest->record);
    assert_receipt(self, told->conflict->receipt, NULL);
    assert_int_equal(append_decision(self, "a", first.index, "next").outcome, APPEND_ADDED);
}

/* In a child, whose limit it is: a file size limit fills the disk for SQLite as a full disk does. */
static void run_with_full_disk(fixture *self) {
    char published[128];
    struct stat info;
    struct rlimit limit;
    failure why = {0};
    signal(SIGXFSZ, SIG_IGN);
    fixture_open(self);
    append_decision(self, "before", 0, "before");
    snprintf(published, sizeof published, "%s/log.db-wal", self->directory);
    assert_int_equal(stat(published, &info), 0);
    limit.rlim_cur = (rlim_t)info.st_size + 100000;
    limit.rlim_max = RLIM_INFINITY;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    status_code status = STATUS_OK;
    uint64_t size = 0;
    char body[20001], id[32];
    memset(body, 'b', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    for (unsigned i = 0; i < 50 && status == STATUS_OK; i++) {
        size = audit_log_size(self->log);
        snprintf(id, sizeof id, "big-%u", i);
        append *item = prepare(request_new(self, KIND(DECISION), id, 0, "DENY", body));
        append_result result;
        status = audit_log_append(self->log, &item, 1, &result, &why);
        append_free(item);
    }
    assert_int_equal(status, STATUS_UNAVAILABLE);
    assert_string_equal(why.reason, "DISK_FULL");
    assert_non_null(strstr(why.message, "disk full"));
    assert_true(why.retry_after_ms > 0);
    assert_int_equal(audit_log_size(self->log), size);
    append_result known = append_decision(self, "before", 0, "before"); /* reading goes on */
    assert_int_equal(known.outcome, APPEND_REPEATED);
    assert_receipt(self, answer(self, &known)->receipt, NULL);
    limit.rlim_cur = RLIM_INFINITY;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    append_result retried = append_decision(self, id, 0, body);
    assert_int_equal(retried.outcome, APPEND_ADDED);
    assert_int_equal(retried.index, size);
    assert_receipt(self, answer(self, &retried)->receipt, NULL);
    fixture_reopen(self);
    assert_int_equal(audit_log_size(self->log), size + 1);
    fixture_close(self);
}

static void a_full_disk_is_survived(void **state) {
    fixture *self = *state;
    fixture_close(self);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        run_with_full_disk(self);
        _exit(0);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
    fixture_open(self);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_new_log_begins_with_its_genesis),
        TEST(an_action_is_claimed_once_and_goes_on_from_its_latest),
        TEST(the_same_append_again_gets_its_receipt_again),
        TEST(a_control_write_is_known_by_its_payload),
        TEST(a_group_is_decided_in_order),
        TEST(a_fence_holds_back_older_permits),
        TEST(counters_hold_over_restarts_and_boots),
        TEST(leaves_never_run_backwards_in_time),
        TEST(every_index_proves_at_every_size),
        TEST(a_second_writer_is_refused),
        TEST(an_older_database_is_refused_until_a_new_epoch),
        TEST(another_history_is_refused),
        TEST(another_installations_log_is_refused),
        TEST(a_changed_tree_is_noticed_at_the_start),
        TEST(erasure_leaves_the_log_whole),
        TEST(a_full_disk_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
