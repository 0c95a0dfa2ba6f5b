/* installation.yaml: what is written is read back, and everything that is not exactly right is refused at its
 * line. */
#include "control/trust.h" /* before cmocka.h, whose macro fail() would hide ours */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_A "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
#define KEY_B "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA="
#define HEAD "installation: demo\norigin: demo.interlock.local/log\nkeys:\n"
#define OPERATOR "  - {principal: operator/alice, purpose: operator, public_key: \"" KEY_A "\"}\n"

static char directory[] = "/tmp/trust-test-XXXXXX";
static char path[64];

static int make_directory(void **state) {
    (void)state;
    crypto_init();
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/installation.yaml", directory);
    return 0;
}

static int remove_directory(void **state) {
    (void)state;
    unlink(path);
    return rmdir(directory);
}

static void put_file(const char *text, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    fclose(file);
}

static const struct {
    const char *label, *text;
    const char *expected; /* in the message; NULL: it loads */
} cases[] = {
    {"good", HEAD OPERATOR, NULL},
    {"two keys, block style",
     HEAD OPERATOR "  - principal: service/audit\n    purpose: checkpoint\n    public_key: " KEY_B "\n",
     NULL},
    {"unknown member", HEAD OPERATOR "extra: 1\n", ":5:1: the key \"extra\" is not known"},
    {"unknown member of a key",
     HEAD "  - {principal: operator/alice, purpose: operator, public_key: \"" KEY_A "\", role: x}\n",
     ":4:112"},
    {"no keys", "installation: demo\norigin: demo/log\nkeys: []\n", "installation.yaml"},
    {"keys absent", "installation: demo\norigin: demo/log\n", "keys"},
    {"empty", "", "empty"},
    {"only a comment", "# nothing\n", "empty"},
    {"no YAML", "installation: [demo\n", ":2:1:"},
    {"tab", "installation:\n\t- x\n", ":2:1:"},
    {"duplicate member", "installation: demo\ninstallation: other\norigin: demo/log\nkeys:\n" OPERATOR,
     ":2:1:"},
    {"second document", HEAD OPERATOR "---\ninstallation: other\n", "more than one document"},
    {"alias", "installation: &a demo\norigin: *a\nkeys:\n" OPERATOR, "installation.yaml"},
    {"capital installation", "installation: Demo\norigin: demo/log\nkeys:\n" OPERATOR, ":1:15: installation"},
    {"installation with a slash", "installation: a/b\norigin: demo/log\nkeys:\n" OPERATOR,
     ":1:15: installation"},
    {"installation ends in a dot", "installation: a.\norigin: demo/log\nkeys:\n" OPERATOR,
     ":1:15: installation"},
    {"origin with a plus sign", "installation: a\norigin: demo+log\nkeys:\n" OPERATOR, ":2:9: origin"},
    {"origin with a space", "installation: a\norigin: demo log\nkeys:\n" OPERATOR, ":2:9: origin"},
    {"unknown purpose", HEAD "  - {principal: operator/a, purpose: everything, public_key: \"" KEY_A "\"}\n",
     ":4:38: purpose"},
    {"a purpose that is enrolled",
     HEAD "  - {principal: agent/a, purpose: agent, public_key: \"" KEY_A "\"}\n", ":4:35: purpose"},
    {"another role's principal",
     HEAD "  - {principal: agent/a, purpose: operator, public_key: \"" KEY_A "\"}\n", ":4:17: principal"},
    {"principal without a name",
     HEAD "  - {principal: operator/, purpose: operator, public_key: \"" KEY_A "\"}\n", ":4:17: principal"},
    {"principal with a newline",
     HEAD "  - {principal: \"operator/a\\nb\", purpose: operator, public_key: \"" KEY_A "\"}\n",
     ":4:17: principal"},
    {"short key", HEAD "  - {principal: operator/a, purpose: operator, public_key: \"AQID\"}\n",
     ":4:60: public_key"},
    {"no base64", HEAD "  - {principal: operator/a, purpose: operator, public_key: \"not base64\"}\n",
     ":4:60: public_key"},
    {"the same key for two",
     HEAD OPERATOR "  - {principal: service/a, purpose: record, public_key: \"" KEY_A "\"}\n",
     ":5:57: public_key"},
};

static void loads_or_refuses(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_file(cases[i].text, strlen(cases[i].text));
        trust *out = NULL;
        failure why = {0};
        status_code code = trust_load(path, &out, &why);
        if (cases[i].expected == NULL) {
            if (code != STATUS_OK)
                fail_msg("%s: %s", cases[i].label, why.message);
            assert_non_null(trust_find(out, KEY_OPERATOR, NULL));
        } else {
            assert_null(out);
            if (code != STATUS_INVALID_ARGUMENT || strstr(why.message, cases[i].expected) == NULL)
                fail_msg("%s: %d, \"%s\" without \"%s\"", cases[i].label, code, why.message,
                         cases[i].expected);
        }
        trust_free(out);
    }
}

static void refuses_what_is_no_text(void **state) {
    (void)state;
    static char zeros[70000];
    trust *out = NULL;
    failure why = {0};
    put_file(zeros, sizeof zeros);
    assert_int_equal(trust_load(path, &out, &why), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(why.message, "larger"));
    put_file(zeros, 10);
    assert_int_equal(trust_load(path, &out, &why), STATUS_INVALID_ARGUMENT);
    put_file("installation: \xff\xfe\n", 17);
    assert_int_equal(trust_load(path, &out, &why), STATUS_INVALID_ARGUMENT);
    unlink(path);
    assert_int_equal(trust_load(path, &out, &why), STATUS_NOT_FOUND);
    assert_null(out);
}

static void reads_what_it_wrote(void **state) {
    (void)state;
    simulated_chance world;
    simulated_chance_init(&world, 7);
    trust self = {.installation = "demo-1.example", .origin = "demo.example/log:1"};
    static const struct {
        const char *principal;
        key_purpose purpose;
    } holders[] = {{"operator/Alice.B@c_d-e", KEY_OPERATOR},
                   {"service/policy", KEY_RECORD},
                   {"service/memory", KEY_RECORD},
                   {"service/signer", KEY_PERMIT},
                   {"service/audit", KEY_CHECKPOINT}};
    for (; self.count < 5; self.count++) {
        uint8_t raw[CRYPTO_PUBLIC_KEY_BYTES];
        chance_random(&world.chance, raw, sizeof raw);
        trust_key *key = &self.keys[self.count];
        snprintf(key->principal, sizeof key->principal, "%s", holders[self.count].principal);
        key->purpose = holders[self.count].purpose;
        public_key_from_bytes(&key->key, raw);
    }
    failure why = {0};
    trust *again = NULL;
    assert_int_equal(trust_save(&self, path, &why), STATUS_OK);
    assert_int_equal(trust_save(&self, path, &why), STATUS_ALREADY_EXISTS);
    assert_int_equal(trust_load(path, &again, &why), STATUS_OK);
    assert_memory_equal(again, &self, sizeof self);

    assert_ptr_equal(trust_find(again, KEY_RECORD, NULL), &again->keys[1]);
    assert_ptr_equal(trust_find(again, KEY_RECORD, "service/memory"), &again->keys[2]);
    assert_null(trust_find(again, KEY_RECORD, "service/audit"));
    assert_ptr_equal(trust_find_keyid(again, KEY_PERMIT, self.keys[3].key.keyid), &again->keys[3]);
    assert_null(trust_find_keyid(again, KEY_RECORD, self.keys[3].key.keyid));
    trust_free(again);

    unlink(path);
    self.keys[0].principal[0] = '"';
    assert_int_equal(trust_save(&self, path, &why), STATUS_INVALID_ARGUMENT);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(loads_or_refuses),
                                       cmocka_unit_test(refuses_what_is_no_text),
                                       cmocka_unit_test(reads_what_it_wrote)};
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
