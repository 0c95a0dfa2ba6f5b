/* The root of trust and the control view when memory runs out at any point: what cannot be read enrols
 * nobody, and what was seen stays seen. */
#include "view.h" /* before cmocka.h, whose macro fail() would hide ours */

#include "fail_allocation.h"
#include "statements.h"
#include "test.h"

#include <unistd.h>

#define KILL_VERB INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_VERB

typedef struct fixture {
    installation at;
    char folder[64], path[96];
    trust *loaded;
    arena kept;
    coord_kv kvs[5];
    seen known;
    view_box *box;
} fixture;

static fixture self;

/* Sorted by key. */
static void put(size_t at, const char *key, bytes value) {
    self.kvs[at] = (coord_kv){.key = arena_text(&self.kept, key), .value = value, .mod_revision = 1};
}

static void put_statements(void) {
    char key[COORD_KEY_BYTES];
    uint8_t raw[CRYPTO_PUBLIC_KEY_BYTES] = {1};
    public_key deployer;
    public_key_from_bytes(&deployer, raw);
    arena *kept = &self.kept;
    put(0, arena_format(kept, "control/enrolment/%s", deployer.keyid),
        signed_by(self.at.alice, PAYLOAD_ENROLMENT,
                  &enrolment_new("agent/deployer", &deployer, 1, kept)->base, kept));
    put(1, "control/epoch", bytes_of_text("2"));
    assert_true(statement_kill_key(KILL_VERB, "exec", key));
    put(2, key,
        signed_by(self.at.alice, PAYLOAD_KILL, &kill_new(KILL_VERB, "exec", true, 1, kept)->base, kept));
    put(3, "control/policy",
        signed_by(self.at.alice, PAYLOAD_POLICY_SET, &policy_new("rules: []", 1, kept)->base, kept));
    put(4, "control/seq", bytes_of_text("5"));
}

static int set_up(void **state) {
    (void)state;
    failure why = {0};
    installation_make(&self.at);
    arena_init(&self.kept, 65536, 1U << 20);
    snprintf(self.folder, sizeof self.folder, "/tmp/control-fault-XXXXXX");
    assert_non_null(mkdtemp(self.folder));
    snprintf(self.path, sizeof self.path, "%s/installation.yaml", self.folder);
    assert_int_equal(trust_save(&self.at.roots, self.path, &why), STATUS_OK);
    put_statements();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    installation_free(&self.at);
    arena_free(&self.kept);
    unlink(self.path);
    return rmdir(self.folder);
}

static status_code load(void *context, failure *why) {
    (void)context;
    return trust_load(self.path, &self.loaded, why);
}

static void check_trust(void *context, bool done) {
    (void)context;
    if (!done) {
        assert_null(self.loaded);
        return;
    }
    assert_int_equal(self.loaded->count, self.at.roots.count);
    assert_string_equal(self.loaded->keys[0].key.keyid, self.at.roots.keys[0].key.keyid);
}

static void end_trust(void *context) {
    (void)context;
    trust_free(self.loaded);
    self.loaded = NULL;
}

static void loading_trust(void **state) {
    (void)state;
    fail_each_allocation(
        &(fault_case){.name = "trust_load", .run = load, .check = check_trust, .end = end_trust});
}

static status_code build(void *context, failure *why) {
    (void)context;
    return view_build(&self.at.roots, chance_system(), &self.known, self.kvs, 5, &self.box, why);
}

static void check_view(void *context, bool done) {
    (void)context;
    if (!done) {
        assert_null(self.box);
        return;
    }
    assert_int_equal(self.box->view.seq, 5);
    assert_int_equal(self.box->view.enrolment_count, 1);
    assert_int_equal(self.box->view.kill_count, 1);
    assert_non_null(self.box->view.policy);
    assert_int_equal(self.known.count, 3);
}

static void end_view(void *context) {
    (void)context;
    view_unref(self.box);
    self.box = NULL;
    seen_free(&self.known);
    self.known = (seen){0};
}

static void building_a_view(void **state) {
    (void)state;
    fail_each_allocation(
        &(fault_case){.name = "view_build", .run = build, .check = check_view, .end = end_view});
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(loading_trust), cmocka_unit_test(building_a_view)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
