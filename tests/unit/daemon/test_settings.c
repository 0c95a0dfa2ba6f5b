/* Settings: which source wins, and that every wrong input is named with its place. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/settings.h"

static const option table[] = {
    {.name = "data-dir", .kind = OPTION_TEXT, .fallback = "/default", .value_name = "DIR", .help = "where"},
    {.name = "loops",
     .kind = OPTION_NUMBER,
     .fallback = "4",
     .value_name = "N",
     .help = "how many",
     .least = 1,
     .most = 64},
    {.name = "offset", .kind = OPTION_NUMBER, .help = "any number"},
    {.name = "verbose", .kind = OPTION_FLAG, .help = "say more"},
};
#define COUNT (sizeof table / sizeof *table)

/* Writes the text to a file of its own; the caller unlinks it. NULL text: no file. */
static char *file_of(const char *text) {
    if (text == NULL)
        return NULL;
    char *path = strdup("/tmp/settings-test-XXXXXX");
    assert_non_null(path);
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, text, strlen(text)), (ssize_t)strlen(text));
    close(descriptor);
    return path;
}

static status_code parse(const char *text, char **environment, int argc, char **argv, settings **out,
                         failure *why) {
    char *path = file_of(text);
    status_code code = settings_parse(out, table, COUNT, path, argc, argv, environment, why);
    if (path != NULL)
        unlink(path);
    free(path);
    return code;
}

typedef struct precedence_case {
    const char *file, *variable, *flag;
    const char *expected;
} precedence_case;

static void every_source_wins_over_the_one_before(void **state) {
    (void)state;
    static const precedence_case cases[] = {
        {NULL, NULL, NULL, "/default"},
        {"data_dir: /file\n", NULL, NULL, "/file"},
        {NULL, "INTERLOCK_DATA_DIR=/env", NULL, "/env"},
        {"data_dir: /file\n", "INTERLOCK_DATA_DIR=/env", NULL, "/env"},
        {NULL, NULL, "--data-dir=/flag", "/flag"},
        {"data_dir: /file\n", NULL, "--data-dir=/flag", "/flag"},
        {NULL, "INTERLOCK_DATA_DIR=/env", "--data-dir=/flag", "/flag"},
        {"data_dir: /file\n", "INTERLOCK_DATA_DIR=/env", "--data-dir=/flag", "/flag"},
        {"# only a comment\n", NULL, NULL, "/default"},
        {"data_dir: /file\n", "INTERLOCK_OTHER=1", NULL, "/file"},
        {"data_dir: ''\n", NULL, NULL, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *environment[] = {"PATH=/bin", (char *)cases[i].variable, NULL};
        char *argv[] = {(char *)cases[i].flag};
        settings *values = NULL;
        failure why = {0};
        status_code code =
            parse(cases[i].file, environment, cases[i].flag != NULL ? 1 : 0, argv, &values, &why);
        assert_int_equal(code, STATUS_OK);
        assert_string_equal(settings_text(values, "data-dir"), cases[i].expected);
        settings_free(values);
    }
}

static void all_kinds_are_read_from_everywhere(void **state) {
    (void)state;
    char *argv[] = {"--loops", "8", "--verbose", "--offset", "-7"};
    char *environment[] = {NULL};
    settings *values = NULL;
    failure why = {0};
    assert_int_equal(parse(NULL, environment, 5, argv, &values, &why), STATUS_OK);
    assert_int_equal(settings_number(values, "loops"), 8);
    assert_int_equal(settings_number(values, "offset"), -7);
    assert_true(settings_flag(values, "verbose"));
    settings_free(values);

    char *other[] = {"INTERLOCK_LOOPS=9", NULL};
    assert_int_equal(parse("verbose: true\noffset: 3\n", other, 0, NULL, &values, &why), STATUS_OK);
    assert_int_equal(settings_number(values, "loops"), 9);
    assert_int_equal(settings_number(values, "offset"), 3);
    assert_true(settings_flag(values, "verbose"));
    assert_true(settings_known(values, "offset"));
    assert_false(settings_known(values, "offsets"));
    settings_free(values);
}

static void a_text_like_a_flag_is_meant_only_after_an_equals_sign(void **state) {
    (void)state;
    char *forgotten[] = {"--data-dir", "-n"};
    char *meant[] = {"--data-dir=-n"};
    char *environment[] = {NULL};
    settings *values = NULL;
    failure why = {0};
    assert_int_equal(parse(NULL, environment, 2, forgotten, &values, &why), STATUS_INVALID_ARGUMENT);
    assert_null(values);
    assert_string_equal(why.reason, "VALUE_MISSING");
    assert_string_equal(why.field, "data-dir");
    assert_non_null(strstr(why.message, "--data-dir=-n"));
    assert_int_equal(parse(NULL, environment, 1, meant, &values, &why), STATUS_OK);
    assert_string_equal(settings_text(values, "data-dir"), "-n");
    settings_free(values);
}

typedef struct bad_file {
    const char *text, *reason, *place;
} bad_file;

static void a_wrong_file_is_named_with_line_and_column(void **state) {
    (void)state;
    static const bad_file cases[] = {
        {"loops: 2\ncolour: red\n", "UNKNOWN_KEY", ":2:1: unknown key \"colour\""},
        {"data-dir: /x\n", "UNKNOWN_KEY", ":1:1:"},
        {"loops: 2\nloops: 3\n", "DUPLICATE_KEY", ":2:1:"},
        {"loops:   many\n", "BAD_NUMBER", ":1:10: \"many\""},
        {"data_dir: /x\nloops: 65\n", "NUMBER_OUT_OF_BOUNDS", ":2:8: 65 is not between 1 and 64"},
        {"loops: 99999999999999999999\n", "BAD_NUMBER", ":1:8:"},
        {"loops: ''\n", "BAD_NUMBER", ":1:8:"},
        {"verbose: yes\n", "BAD_FLAG", ":1:10:"},
        {"data_dir: [a, b]\n", "BAD_CONFIGURATION", ":1:11:"},
        {"data_dir: {a: b}\n", "BAD_CONFIGURATION", ":1:11:"},
        {"- data_dir\n", "BAD_CONFIGURATION", ":1:1:"},
        {"just text\n", "BAD_CONFIGURATION", ":1:1:"},
        {"data_dir: a\n---\ndata_dir: b\n", "BAD_CONFIGURATION", ":2:1:"},
        {"data_dir: \"unclosed\n", "BAD_YAML", ":2:1:"},
        {"data_dir: *alias\n", "BAD_CONFIGURATION", ":1:11:"},
        {"data_dir: \"a\\0b\"\n", "BAD_CONFIGURATION", ":1:11:"},
    };
    char *environment[] = {NULL};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        settings *values = NULL;
        failure why = {0};
        assert_int_equal(parse(cases[i].text, environment, 0, NULL, &values, &why), STATUS_INVALID_ARGUMENT);
        assert_null(values);
        assert_string_equal(why.reason, cases[i].reason);
        if (strstr(why.message, cases[i].place) == NULL)
            print_error("\"%s\" lacks \"%s\"\n", why.message, cases[i].place);
        assert_non_null(strstr(why.message, cases[i].place));
    }
}

typedef struct bad_flag {
    const char *first, *second, *reason, *words;
} bad_flag;

static void a_wrong_flag_is_named(void **state) {
    (void)state;
    static const bad_flag cases[] = {
        {"--colour", "red", "UNKNOWN_OPTION", "--colour"},
        {"--data_dir", "/x", "UNKNOWN_OPTION", "--data_dir"},
        {"positional", NULL, "UNEXPECTED_ARGUMENT", "positional"},
        {"-x", NULL, "UNEXPECTED_ARGUMENT", "-x"},
        {"--", NULL, "UNEXPECTED_ARGUMENT", "--"},
        {"--loops", NULL, "VALUE_MISSING", "--loops"},
        {"--loops", "0", "NUMBER_OUT_OF_BOUNDS", "--loops: 0 is not between"},
        {"--loops=2x", NULL, "BAD_NUMBER", "--loops"},
        {"--loops", " 2", "BAD_NUMBER", "--loops"},
        {"--verbose=maybe", NULL, "BAD_FLAG", "--verbose"},
    };
    char *environment[] = {NULL};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *argv[] = {(char *)cases[i].first, (char *)cases[i].second};
        settings *values = NULL;
        failure why = {0};
        assert_int_equal(parse(NULL, environment, cases[i].second != NULL ? 2 : 1, argv, &values, &why),
                         STATUS_INVALID_ARGUMENT);
        assert_string_equal(why.reason, cases[i].reason);
        assert_non_null(strstr(why.message, cases[i].words));
    }
}

static void a_wrong_variable_is_named(void **state) {
    (void)state;
    char *environment[] = {"INTERLOCK_LOOPS=lots", NULL};
    settings *values = NULL;
    failure why = {0};
    assert_int_equal(parse(NULL, environment, 0, NULL, &values, &why), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(why.message, "INTERLOCK_LOOPS"));
}

static void a_missing_or_huge_file_is_refused(void **state) {
    (void)state;
    settings *values = NULL;
    failure why = {0};
    assert_int_equal(settings_parse(&values, table, COUNT, "/nowhere/interlock.yaml", 0, NULL, NULL, &why),
                     STATUS_NOT_FOUND);
    assert_non_null(strstr(why.message, "/nowhere/interlock.yaml"));
    size_t size = 300U << 10;
    char *text = malloc(size + 1);
    assert_non_null(text);
    memset(text, '#', size);
    text[size] = '\0';
    assert_int_equal(parse(text, NULL, 0, NULL, &values, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "CONFIGURATION_TOO_LARGE");
    free(text);
}

static void help_names_every_option_with_its_default(void **state) {
    (void)state;
    buffer text;
    buffer_init(&text, 4096);
    settings_help(table, COUNT, &text);
    assert_true(buffer_ok(&text));
    assert_string_equal(text.data, "  --data-dir DIR              where [/default]\n"
                                   "  --loops N                   how many [4]\n"
                                   "  --offset VALUE              any number\n"
                                   "  --verbose                   say more\n");
    buffer_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_source_wins_over_the_one_before),
        cmocka_unit_test(all_kinds_are_read_from_everywhere),
        cmocka_unit_test(a_text_like_a_flag_is_meant_only_after_an_equals_sign),
        cmocka_unit_test(a_wrong_file_is_named_with_line_and_column),
        cmocka_unit_test(a_wrong_flag_is_named),
        cmocka_unit_test(a_wrong_variable_is_named),
        cmocka_unit_test(a_missing_or_huge_file_is_refused),
        cmocka_unit_test(help_names_every_option_with_its_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
