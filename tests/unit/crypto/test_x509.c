/* The development authority: its files, and that the openssl command takes what it issues. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/x509.h"
#include "test.h"

static char folder[64];

static int set_up(void **state) {
    (void)state;
    crypto_init();
    strcpy(folder, "/tmp/interlock-x509-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int tear_down(void **state) {
    (void)state;
    static const char *const names[] = {"ca.pem",     "ca.key",    "policy.pem",
                                        "policy.key", "agent.pem", "agent.key"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static mode_t mode_of(const char *name) {
    char path[128];
    struct stat facts;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(stat(path, &facts), 0);
    return facts.st_mode & 0777;
}

/* What a command prints, run inside the folder. */
static const char *output_of(const char *command) {
    static char output[16384];
    char line[1024];
    snprintf(line, sizeof line, "cd %s && %s 2>&1", folder, command);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    size_t size = fread(output, 1, sizeof output - 1, pipe);
    output[size] = '\0';
    pclose(pipe);
    return output;
}

static void test_needs_an_authority(void **state) {
    (void)state;
    failure why;
    assert_int_equal(x509_issue(folder, "policy", "spiffe://house/policy", true, &why),
                     STATUS_FAILED_PRECONDITION);
    assert_string_equal(why.reason, "X509_AUTHORITY");
}

static void test_issues_what_openssl_verifies(void **state) {
    (void)state;
    failure why;
    assert_int_equal(x509_create_authority(folder, "house", &why), STATUS_OK);
    assert_int_equal(x509_issue(folder, "policy", "spiffe://house/policy", true, &why), STATUS_OK);
    assert_int_equal(x509_issue(folder, "agent", "spiffe://house/agent", false, &why), STATUS_OK);
    assert_int_equal(mode_of("ca.key"), 0600);
    assert_int_equal(mode_of("policy.key"), 0600);

    const char *text = output_of("openssl verify -x509_strict -purpose sslserver -CAfile ca.pem policy.pem");
    assert_string_equal(text, "policy.pem: OK\n");
    text = output_of("openssl verify -x509_strict -purpose sslclient -CAfile ca.pem policy.pem agent.pem");
    assert_string_equal(text, "policy.pem: OK\nagent.pem: OK\n");
    text = output_of("openssl verify -x509_strict -purpose sslserver -CAfile ca.pem agent.pem");
    assert_non_null(strstr(text, "unsuitable certificate purpose"));

    text = output_of("openssl x509 -in policy.pem -noout -ext subjectAltName");
    assert_non_null(strstr(text, "URI:spiffe://house/policy, DNS:localhost, IP Address:127.0.0.1"));
    text = output_of("openssl x509 -in agent.pem -noout -ext subjectAltName");
    assert_non_null(strstr(text, "URI:spiffe://house/agent\n"));
}

static void test_never_overwrites(void **state) {
    (void)state;
    failure why;
    assert_int_equal(x509_create_authority(folder, "house", &why), STATUS_ALREADY_EXISTS);
    assert_int_equal(x509_issue(folder, "policy", "spiffe://house/policy", true, &why),
                     STATUS_ALREADY_EXISTS);
    assert_string_equal(output_of("openssl verify -CAfile ca.pem policy.pem"), "policy.pem: OK\n");
}

static void test_refuses_bad_names(void **state) {
    (void)state;
    static const char *const names[] = {"", "ca", ".hidden", "../up", "a/b"};
    static const char *const ids[] = {"",
                                      "house/policy",
                                      "https://house/policy",
                                      "spiffe://",
                                      "spiffe:///policy",
                                      "spiffe://house/policy,DNS:evil.example",
                                      "spiffe://house/a b"};
    failure why;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(x509_issue(folder, names[i], "spiffe://house/x", true, &why),
                         STATUS_INVALID_ARGUMENT);
        assert_string_equal(why.field, "name");
    }
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        assert_int_equal(x509_issue(folder, "fresh", ids[i], true, &why), STATUS_INVALID_ARGUMENT);
        assert_string_equal(why.field, "spiffe_id");
    }
    assert_int_equal(x509_create_authority(folder, "", &why), STATUS_INVALID_ARGUMENT);
    assert_int_equal(x509_create_authority("/nowhere/at/all", "house", &why), STATUS_UNAVAILABLE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_needs_an_authority),
        cmocka_unit_test(test_issues_what_openssl_verifies),
        cmocka_unit_test(test_never_overwrites),
        cmocka_unit_test(test_refuses_bad_names),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
