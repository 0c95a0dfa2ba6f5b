/* Verification finds every kind of change, and nothing in a log that is whole. */
#include "audit_fixture.h"

#include "verify.h"

static Interlock__Audit__V1__VerifyResponse *verify_log(fixture *self) {
    failure why = {0};
    audit_store reader;
    Interlock__Audit__V1__VerifyResponse *out = arena_alloc(&self->memory, sizeof *out);
    assert_non_null(out);
    interlock__audit__v1__verify_response__init(out);
    assert_int_equal(audit_store_open_reader(&reader, audit_log_database(self->log), &why), STATUS_OK);
    verify_options options = {.roots = &self->roots, .published = audit_log_published(self->log)};
    if (log_verify(&reader, &options, &self->memory, out, &why) != STATUS_OK)
        fail_msg("cannot verify: %s", why.message);
    audit_store_close(&reader);
    return out;
}

static void fill(fixture *self) {
    append_result first = append_decision(self, "a", 0, "one");
    append_result second = append_decision(self, "a", first.index, "two");
    append_decision(self, "a", second.index, "three");
    append_decision(self, "b", 0, "other");
    append_request(self, request_new(self, KIND(KILL), "", 0, "SET", "kill"));
    append_decision(self, "c", 0, "last");
}

static void a_whole_log_verifies(void **state) {
    fixture *self = *state;
    failure why = {0};
    fill(self);
    Interlock__Audit__V1__VerifyResponse *found = verify_log(self);
    assert_true(found->ok);
    assert_int_equal(found->n_problems, 0);
    assert_int_equal(found->tree_size, 7);
    assert_string_equal(found->checkpoint, audit_log_note(self->log));
    assert_int_equal(audit_store_erase(audit_log_store(self->log), 2, &why), STATUS_OK);
    assert_int_equal(audit_store_erase(audit_log_store(self->log), 5, &why), STATUS_OK);
    assert_true(verify_log(self)->ok);
}

static const struct {
    const char *sql, *problem;
} changes[] = {
    {"UPDATE entry SET leaf = (SELECT leaf FROM entry WHERE position = 3) WHERE position = 2", "hashes"},
    {"UPDATE entry SET leaf = x'ff' WHERE position = 2", "not readable"},
    {"UPDATE entry SET hashes = zeroblob(length(hashes)) WHERE position = 3", "hashes"},
    {"DELETE FROM entry WHERE position = 4", "missing"},
    {"UPDATE body SET sealed = (SELECT sealed FROM body WHERE position = 3) WHERE position = 2", "open"},
    {"UPDATE body SET sealed = substr(sealed, 1, 20) WHERE position = 2", "lacks"},
    {"DELETE FROM body WHERE position = 2", "lacks"},
    {"DELETE FROM secret WHERE position = 2", "lacks"},
    {"UPDATE secret SET salt = zeroblob(32) WHERE position = 2", "commits"},
    {"DELETE FROM action WHERE position = 3", "chain"},
    {"UPDATE action SET previous = 77 WHERE position = 2", "chain"},
    {"INSERT INTO action VALUES ('z', 0, 1)", "belong to actions"},
    {"DELETE FROM statement WHERE position = 5", "digest"},
    {"UPDATE meta SET text = 'nonsense' WHERE name = 'checkpoint'", "checkpoint"},
    {"DELETE FROM entry WHERE position = 6", "signs another tree"},
};

static bool mentions(const Interlock__Audit__V1__VerifyResponse *found, const char *word) {
    for (size_t i = 0; i < found->n_problems; i++)
        if (strstr(found->problems[i], word) != NULL)
            return true;
    return false;
}

static void every_change_is_found(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        fixture *self = fixture_new(i + 1);
        failure why = {0};
        fixture_open(self);
        fill(self);
        assert_int_equal(store_execute(&audit_log_store(self->log)->base, changes[i].sql, &why), STATUS_OK);
        Interlock__Audit__V1__VerifyResponse *found = verify_log(self);
        if (found->ok || !mentions(found, changes[i].problem))
            fail_msg("change %zu (%s): %s", i, changes[i].sql, found->ok ? "not found" : found->problems[0]);
        fixture_free(self);
    }
}

static void a_log_behind_its_published_checkpoint_is_found(void **state) {
    fixture *self = *state;
    failure why = {0};
    fill(self);
    fixture_reopen(self); /* publishes all seven */
    assert_int_equal(
        store_execute(&audit_log_store(self->log)->base, "DELETE FROM entry WHERE position > 4", &why),
        STATUS_OK);
    Interlock__Audit__V1__VerifyResponse *found = verify_log(self);
    assert_false(found->ok);
    assert_true(mentions(found, "were published"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_whole_log_verifies, fixture_setup, fixture_teardown),
        cmocka_unit_test(every_change_is_found),
        cmocka_unit_test_setup_teardown(a_log_behind_its_published_checkpoint_is_found, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
