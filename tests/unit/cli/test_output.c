/* How answers look: columns that align, shares with their interval, text that cannot speak to the terminal;
 * the names that a policy document states; completion scripts. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "completion.h"

static void columns_align_by_what_is_shown(void **state) {
    (void)state;
    static const char *const headings[] = {"NAME", "SHARE", "PATH"};
    const char *const first[] = {"a → b", "1 %", "x"};
    const char *const second[] = {"longer name", NULL, "y"};
    buffer text;
    buffer_init(&text, 4096);
    char *kept = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&kept, &size);
    cli_table *table = cli_table_new(headings, 3);
    cli_table_row(table, first);
    cli_table_row(table, second);
    cli_table_print(table, file);
    fclose(file);
    assert_string_equal(kept, "NAME         SHARE  PATH\n"
                              "a → b        1 %    x\n"
                              "longer name         y\n");
    free(kept);
    buffer_free(&text);
}

typedef struct share_case {
    double expected, low, high;
    const char *text;
} share_case;

static void shares_show_their_interval(void **state) {
    (void)state;
    static const share_case cases[] = {
        {0, 0, 0, "0 %"},
        {1, 1, 1, "100 %"},
        {1, 0, 1, "100 % (0 % to 100 %)"},
        {0.5, 0.5, 0.5, "50.0 %"},
        {0.715, 0.697, 0.732, "71.5 % (69.7 % to 73.2 %)"},
        {0.0234, 0.018, 0.03, "2.34 % (1.80 % to 3.00 %)"},
    };
    arena memory;
    arena_init(&memory, 4096, 65536);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(cli_share(&memory, cases[i].expected, cases[i].low, cases[i].high),
                            cases[i].text);
    arena_free(&memory);
}

static void stored_text_cannot_steer_the_terminal(void **state) {
    (void)state;
    arena memory;
    arena_init(&memory, 4096, 65536);
    assert_string_equal(cli_safe(&memory, "a\033[2Jb\nc\x7f"), "a [2Jb c ");
    assert_string_equal(cli_safe(&memory, "x\xC2\x9By"), "x  y");
    assert_string_equal(cli_safe(&memory, "naïve →"), "naïve →");
    assert_string_equal(cli_safe(&memory, NULL), "");
    arena_free(&memory);
}

static void times_are_utc(void **state) {
    (void)state;
    arena memory;
    arena_init(&memory, 4096, 65536);
    assert_string_equal(cli_time(&memory, 1700000000123), "2023-11-14 22:13:20Z");
    assert_string_equal(cli_time(&memory, 0), "-");
    arena_free(&memory);
}

typedef struct metadata_case {
    const char *document, *name;
    uint64_t version; /* 0: refused */
} metadata_case;

#define SET "apiVersion: interlock/v1\nkind: PolicySet\n"
#define RULE                                                                                                 \
    "apiVersion: interlock/v1\nkind: Policy\nmetadata: {name: r}\nspec: {effect: forbid, match: {verbs: "    \
    "[x], targets: [\"*\"]}}\n---\n"

static void a_policy_states_its_name_and_version(void **state) {
    (void)state;
    static const metadata_case cases[] = {
        {SET "metadata: {name: shop, version: 3}\n", "shop", 3},
        {RULE SET "metadata:\n  version: 12\n  name: a-b\n", "a-b", 12},
        {SET "metadata: {name: shop}\n", NULL, 0},
        {SET "metadata: {version: 1}\n", NULL, 0},
        {SET "metadata: {name: shop, version: 0}\n", NULL, 0},
        {SET "metadata: {name: shop, version: -1}\n", NULL, 0},
        {SET "metadata: {name: shop, version: 1x}\n", NULL, 0},
        {SET "metadata: {name: [shop], version: 1}\n", NULL, 0},
        {SET "metadata: shop\n", NULL, 0},
        {"- metadata\n", NULL, 0},
        {"", NULL, 0},
        {SET "metadata: {name: \"shop\n", NULL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[129] = "untouched";
        uint64_t version = 77;
        failure why = {0};
        status_code code =
            cli_policy_metadata(bytes_of_text(cases[i].document), "p.yaml", name, &version, &why);
        assert_int_equal(code, cases[i].version != 0 ? STATUS_OK : STATUS_INVALID_ARGUMENT);
        assert_string_equal(name, cases[i].version != 0 ? cases[i].name : "untouched");
        assert_int_equal(version, cases[i].version != 0 ? cases[i].version : 77);
        if (code != STATUS_OK)
            assert_non_null(strstr(why.message, "p.yaml"));
    }
}

static void check_bash(const buffer *script, const char *line, const char *expected) {
    char path[] = "/tmp/completion-test-XXXXXX", command[256], output[4096] = "";
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, script->data, script->size), (ssize_t)script->size);
    close(descriptor);
    snprintf(
        command, sizeof command,
        "bash -c 'source %s; COMP_WORDS=(%s \"\"); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _interlock; echo "
        "\"${COMPREPLY[@]}\"'",
        path, line);
    FILE *pipe_file = popen(command, "r");
    assert_non_null(pipe_file);
    assert_non_null(fgets(output, sizeof output, pipe_file));
    assert_int_equal(pclose(pipe_file), 0);
    unlink(path);
    if (strstr(output, expected) == NULL)
        print_error("%s: %s lacks %s\n", line, output, expected);
    assert_non_null(strstr(output, expected));
}

static void bash_completes_nouns_verbs_and_flags(void **state) {
    (void)state;
    size_t count = 0;
    const cli_group *all = cli_all_commands(&count);
    buffer script;
    buffer_init(&script, 1U << 20);
    completion_bash(all, count, &script);
    assert_true(buffer_ok(&script));
    check_bash(&script, "interlock", "init dev status doctor agent key");
    check_bash(&script, "interlock", "outcome recall graph");
    check_bash(&script, "interlock", "kill policy backtest audit");
    check_bash(&script, "interlock policy",
               "check test set show history rollback diff explain replay shadow eval");
    check_bash(&script, "interlock agent", "enroll list revoke");
    check_bash(&script, "interlock outcome", "report");
    check_bash(&script, "interlock --data-dir /x kill", "set clear status");
    check_bash(&script, "interlock audit list", "--verdict");
    check_bash(&script, "interlock evaluate --agent x", "--dry-run");
    buffer_clear(&script);
    completion_fish(all, count, &script);
    assert_non_null(strstr(script.data, "-a evaluate -d 'propose an action"));
    assert_non_null(strstr(script.data, "-l state -r -a 'healthy failed"));
    buffer_free(&script);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_align_by_what_is_shown),
        cmocka_unit_test(shares_show_their_interval),
        cmocka_unit_test(stored_text_cannot_steer_the_terminal),
        cmocka_unit_test(times_are_utc),
        cmocka_unit_test(a_policy_states_its_name_and_version),
        cmocka_unit_test(bash_completes_nouns_verbs_and_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
