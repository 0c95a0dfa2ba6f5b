/* Roles by name, SPIFFE ids, traceparents: pure readers of what a caller says about itself. */
#include "identity.h"
#include "rpc_test.h"

static void roles_by_name(void **state) {
    (void)state;
    for (unsigned bit = 1; bit < ROLE_ANYONE; bit <<= 1) {
        const char *name = rpc_role_name((rpc_role)bit);
        assert_int_equal(rpc_role_parse(name), bit);
        assert_int_equal(role_parse_sized(name, strlen(name)), bit);
        assert_int_equal(role_parse_sized(name, strlen(name) - 1), ROLE_NONE);
    }
    assert_int_equal(rpc_role_parse("anyone"), ROLE_NONE);
    assert_int_equal(rpc_role_parse(""), ROLE_NONE);
    assert_int_equal(rpc_role_parse("Agent"), ROLE_NONE);
    assert_string_equal(rpc_role_name(ROLE_NONE), "none");
}

static void spiffe_ids(void **state) {
    (void)state;
    static const struct {
        const char *id;
        rpc_role role; /* ROLE_NONE: not taken */
        const char *principal;
    } cases[] = {
        {"spiffe://acme.test/agent/deployer", ROLE_AGENT, "agent/deployer"},
        {"spiffe://acme.test/service/policy-1.a_b", ROLE_SERVICE, "service/policy-1.a_b"},
        {"spiffe://acme.test/operator/alice", ROLE_OPERATOR, "operator/alice"},
        {"spiffe://other.test/agent/deployer", ROLE_NONE, NULL},
        {"spiffe://acme.test.evil/agent/deployer", ROLE_NONE, NULL},
        {"spiffe://acme.tes/agent/deployer", ROLE_NONE, NULL},
        {"spiffe://acme.test/owner/deployer", ROLE_NONE, NULL},
        {"spiffe://acme.test/anyone/deployer", ROLE_NONE, NULL},
        {"spiffe://acme.test/agent/", ROLE_NONE, NULL},
        {"spiffe://acme.test/agent", ROLE_NONE, NULL},
        {"spiffe://acme.test/agent/a/b", ROLE_NONE, NULL},
        {"spiffe://acme.test/agent/..", ROLE_NONE, NULL},
        {"spiffe://acme.test/agent/a b", ROLE_NONE, NULL},
        {"spiffe://acme.test/agent/a%2fb", ROLE_NONE, NULL},
        {"spiffe://acme.test//deployer", ROLE_NONE, NULL},
        {"https://acme.test/agent/deployer", ROLE_NONE, NULL},
        {"", ROLE_NONE, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rpc_peer peer = {.uid = 77};
        bool taken = identity_from_spiffe(cases[i].id, strlen(cases[i].id), "acme.test", &peer);
        assert_int_equal(taken, cases[i].role != ROLE_NONE);
        assert_int_equal(peer.uid, taken ? -1 : 77);
        if (!taken)
            continue;
        assert_int_equal(peer.role, cases[i].role);
        assert_string_equal(peer.principal, cases[i].principal);
        assert_string_equal(peer.spiffe_id, cases[i].id);
    }
    rpc_peer peer;
    assert_false(identity_from_spiffe("spiffe://acme.test/agent/a\0b", 28, "acme.test", &peer));
    assert_false(identity_from_spiffe("spiffe:///agent/a", 17, "", &peer));
    char longest[400] = "spiffe://acme.test/agent/";
    memset(longest + 25, 'x', 300);
    assert_false(identity_from_spiffe(longest, 256, "acme.test", &peer));
    assert_true(identity_from_spiffe(longest, 255, "acme.test", &peer));
}

static void traceparents(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true},
        {"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
        {"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false},
        {"00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01", false},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(traceparent_valid(cases[i].text, strlen(cases[i].text)), cases[i].valid);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_by_name),
        cmocka_unit_test(spiffe_ids),
        cmocka_unit_test(traceparents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
