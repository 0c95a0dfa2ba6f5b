/* The policy file: what is read from a good one, and where a bad one is said to be bad. */
#include "document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/crypto.h"
#include "pattern.h"
#include "wrong.h"

#define HEAD "apiVersion: interlock/v1\nkind: PolicySet\nmetadata: {name: x, version: 1}\n"
#define RULE "{name: a, effect: permit, verbs: [deploy], targets: ['service:*']}"

static status_code parse(const char *text, policy_document **out, failure *why) {
    return document_parse(bytes_of_text(text), out, why);
}

static void test_good(void **state) {
    (void)state;
    failure why = {0};
    policy_document *document = NULL;
    assert_int_equal(
        parse(HEAD "stages:\n"
                   "  - {targets: ['service:prod/*', 'queue:prod/*'], mode: enforced}\n"
                   "  - {targets: ['*/legacy'], mode: advisory}\n"
                   "rules:\n"
                   "  - {name: a, effect: permit, verbs: [deploy, 'config.*'], targets: ['service:*'],\n"
                   "     agents: [agent/x], bound: {entry_traffic: 0.05}, message: small ones}\n"
                   "  - {name: b, effect: forbid, verbs: ['*'], targets: ['datastore:prod/*']}\n",
              &document, &why),
        STATUS_OK);
    assert_string_equal(document->name, "x");
    assert_int_equal(document->version, 1);
    assert_int_equal(strlen(document->digest), 64);
    assert_int_equal(document->rule_count, 2);
    assert_string_equal(document->rules[0].message, "small ones");
    assert_true(document->rules[0].bound.entry_traffic_stated);
    assert_true(document->rules[0].bound.entry_traffic > 0.0499 &&
                document->rules[0].bound.entry_traffic < 0.0501);
    assert_int_equal(document->rules[1].effect, EFFECT_FORBID);
    assert_int_equal(document->rules[1].agents.count, 0);
    assert_int_equal(document_mode(document, "queue:prod/shop/mail"),
                     INTERLOCK__POLICY__V1__MODE__MODE_ENFORCED);
    assert_int_equal(document_mode(document, "service:prod/shop/legacy"),
                     INTERLOCK__POLICY__V1__MODE__MODE_ADVISORY);
    assert_int_equal(document_mode(document, "service:staging/shop/cart"),
                     INTERLOCK__POLICY__V1__MODE__MODE_ADVISORY);
    document_unref(document_ref(document));
    document_unref(document);
    document_unref(NULL);
}

static void test_starter(void **state) {
    (void)state;
    FILE *file = fopen(TEST_DATA_DIR "/../../../deploy/policy.yaml", "re");
    assert_non_null(file);
    char text[16384];
    size_t size = fread(text, 1, sizeof text, file);
    fclose(file);
    failure why = {0};
    policy_document *document = NULL;
    assert_int_equal(document_parse(bytes_of(text, size), &document, &why), STATUS_OK);
    assert_int_equal(document_mode(document, "service:prod/shop/cart"),
                     INTERLOCK__POLICY__V1__MODE__MODE_ENFORCED);
    document_unref(document);
}

static void test_bad(void **state) {
    (void)state;
    static const struct {
        const char *text, *place, *field, *words;
    } rows[] = {
        {"", "policy:1:1:", "", "empty"},
        {"# nothing\n", "policy:1:1:", "", "empty"},
        {"[", "policy:2:1:", "", "not YAML"},
        {"a: b: c\n", "policy:1:5:", "", "not YAML"},
        {"- x\n", "policy:1:1:", "", "mapping"},
        {HEAD "rules: []\n---\nx: y\n", "policy:5:1:", "", "second document"},
        {"kind: PolicySet\n", "policy:1:1:", "", "lacks the key \"apiVersion\""},
        {HEAD, "policy:1:1:", "", "lacks the key \"rules\""},
        {"apiVersion: interlock/v2\n", "policy:1:13:", "apiVersion", "must be interlock/v1"},
        {HEAD "rules: []\nrule: []\n", "policy:5:1:", "", "unknown key \"rule\""},
        {HEAD "rules: []\nrules: []\n", "policy:5:1:", "", "twice"},
        {HEAD "rules: {}\n", "policy:4:8:", "rules", "must be a list"},
        {HEAD "rules: [" RULE ", " RULE "]\n", "policy:4:77:", "rules[1]", "name of an earlier rule"},
        {HEAD "rules:\n  - name: a\n    effect: allow\n", "policy:6:13:", "rules[0].effect",
         "permit or forbid"},
        {HEAD "rules:\n  - {name: a, effect: permit, verbs: [], targets: ['*']}\n",
         "policy:5:38:", "rules[0].verbs", "1 to 64"},
        {HEAD "rules:\n  - {name: a, effect: permit, verbs: deploy, targets: ['*']}\n",
         "policy:5:38:", "rules[0].verbs", "must be a list"},
        {HEAD "rules:\n  - {name: a, effect: permit, verbs: [Deploy], targets: ['*']}\n",
         "policy:5:39:", "rules[0].verbs[0]", "can never match"},
        {HEAD "rules:\n  - {name: a, effect: permit, verbs: [deploy], targets: [cart]}\n",
         "policy:5:58:", "rules[0].targets[0]", "can never match"},
        {HEAD "rules:\n  - {name: a, effect: permit, verbs: [deploy], targets: [prod/shop/*]}\n",
         "policy:5:58:", "rules[0].targets[0]", "can never match"},
        {HEAD "rules:\n  - {name: a, effect: permit, verbs: [deploy], targets: ['*'], agents: [deployer]}\n",
         "policy:5:73:", "rules[0].agents[0]", "can never match"},
        {HEAD
         "rules:\n  - {name: a, effect: permit, verbs: [d], targets: ['*'], bound: {entry_traffic: 5}}\n",
         "policy:5:82:", "rules[0].bound.entry_traffic", "0 to 1"},
        {HEAD
         "rules:\n  - {name: a, effect: permit, verbs: [d], targets: ['*'], bound: {entry_traffic: nan}}\n",
         "policy:5:82:", "rules[0].bound.entry_traffic", "0 to 1"},
        {HEAD
         "rules:\n  - {name: a, effect: permit, verbs: [d], targets: ['*'], bound: {entry_traffic: 1e-2}}\n",
         "policy:5:82:", "rules[0].bound.entry_traffic", "0 to 1"},
        {HEAD "rules:\n  - {name: a, effect: permit, verbs: [d], targets: ['*'], bound: {}}\n",
         "policy:5:66:", "rules[0].bound", "lacks the key \"entry_traffic\""},
        {HEAD
         "rules:\n  - {name: a, effect: forbid, verbs: [d], targets: ['*'], bound: {entry_traffic: 0.1}}\n",
         "policy:5:5:", "rules[0]", "takes no bound"},
        {HEAD "stages: [{targets: ['*'], mode: dry_run}]\nrules: []\n", "policy:4:33:", "stages[0].mode",
         "advisory or enforced"},
        {"apiVersion: interlock/v1\nkind: PolicySet\nmetadata: {name: x, version: 0}\nrules: []\n",
         "policy:3:30:", "metadata.version", "from 1 on"},
        {"apiVersion: interlock/v1\nkind: PolicySet\nmetadata: {name: x, version: 1.5}\nrules: []\n",
         "policy:3:30:", "metadata.version", "from 1 on"},
        {"apiVersion: interlock/v1\nkind: PolicySet\nmetadata: {name: '', version: 1}\nrules: []\n",
         "policy:3:18:", "metadata.name", "1 to 128"},
        {HEAD "rules: &a [*a]\n", "policy:4:8:", "", "anchors"},
        {HEAD "rules: *a\n", "policy:4:8:", "", "anchors"},
        {HEAD "rules: !!seq []\n", "policy:4:8:", "", "tags"},
        {HEAD "rules: [[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]\n", "policy:4:23:", "", "too deeply"},
        {HEAD "rules:\n  - {? [a] : b}\n", "policy:5:8:", "rules[0]", "unknown key"},
        {HEAD "rules:\n  - {name: \"a\\0b\"}\n", "policy:5:12:", "rules[0].name", "must be text"},
        {HEAD "rules:\n  - {name: \"a\\nb\"}\n", "policy:5:12:", "rules[0].name", "one line"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        failure why = {0};
        policy_document *document = NULL;
        status_code code = parse(rows[i].text, &document, &why);
        if (code != STATUS_INVALID_ARGUMENT || strcmp(why.reason, "POLICY_INVALID") != 0 ||
            strncmp(why.message, rows[i].place, strlen(rows[i].place)) != 0 ||
            strcmp(why.field, rows[i].field) != 0 || strstr(why.message, rows[i].words) == NULL)
            WRONG("row %zu: %d %s [%s] (wanted %s [%s] %s)", i, code, why.message, why.field, rows[i].place,
                  rows[i].field, rows[i].words);
        assert_null(document);
    }
}

static void test_not_text(void **state) {
    (void)state;
    failure why = {0};
    policy_document *document = NULL;
    assert_int_equal(document_parse(bytes_of("\xff\xfe", 2), &document, &why), STATUS_INVALID_ARGUMENT);
    char *large = calloc(1, DOCUMENT_BYTES + 1);
    assert_non_null(large);
    memset(large, '#', DOCUMENT_BYTES + 1);
    assert_int_equal(document_parse(bytes_of(large, DOCUMENT_BYTES + 1), &document, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(why.message, "262144"));
    assert_int_equal(document_parse(bytes_of(large, DOCUMENT_BYTES), &document, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(why.message, "empty"));
    free(large);
}

static void test_patterns(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool matches;
    } rows[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "a/b", true},
        {"a", "a", true},
        {"a", "ab", false},
        {"a*", "a", true},
        {"a*", "ba", false},
        {"*a", "aa", true},
        {"*a", "ab", false},
        {"a*b*c", "axxbyyc", true},
        {"a*b*c", "axxcyyb", false},
        {"**", "abc", true},
        {"*ab", "aab", true},
        {"a**b", "ab", true},
        {"service:prod/*", "service:prod/shop/x", true},
        {"service:prod/*", "service:production/x", false},
        {"*aaab", "aaaaaaaaaaaaaaaaaaaab", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (pattern_matches(rows[i].pattern, rows[i].text) != rows[i].matches)
            WRONG("%s on %s", rows[i].pattern, rows[i].text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),     cmocka_unit_test(test_starter),  cmocka_unit_test(test_bad),
        cmocka_unit_test(test_not_text), cmocka_unit_test(test_patterns),
    };
    crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
