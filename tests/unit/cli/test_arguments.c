/* The command line: what is read, what is refused, and that help tells every flag. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"

static cli_exit run_nothing(cli *self) {
    (void)self;
    return CLI_OK;
}

static const cli_flag flags[] = {
    {.name = "verb", .kind = FLAG_TEXT, .value_name = "VERB", .help = "what"},
    {.name = "target", .kind = FLAG_LIST, .value_name = "NODE", .help = "where"},
    {.name = "dry-run", .kind = FLAG_SWITCH, .help = "only ask"},
    {.name = "state", .kind = FLAG_TEXT, .help = "became", .choices = "healthy|failed"},
};
static const cli_command commands[] = {
    {.noun = "graph",
     .verb = "show",
     .purpose = "shows",
     .flags = flags,
     .flag_count = 4,
     .examples = "  interlock graph show\n",
     .run = run_nothing},
    {.noun = "graph",
     .verb = "impact",
     .purpose = "predicts",
     .positional = "NODE…",
     .least = 1,
     .most = 2,
     .flags = flags,
     .flag_count = 4,
     .run = run_nothing},
};
static const cli_command alone[] = {{.noun = "status", .purpose = "tells", .run = run_nothing}};
static const cli_group groups[] = {{commands, 2}, {alone, 1}};

static status_code parse(cli *self, failure *why, char **environment, const char *line) {
    static char copy[1024];
    static char *argv[40];
    int argc = 0;
    char *rest = NULL;
    memset(self, 0, sizeof *self);
    arena_init(&self->memory, 4096, 1U << 20);
    strcpy(copy, line);
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    return cli_parse(self, groups, 2, argc, argv, environment, why);
}

static void a_whole_command_line_is_read(void **state) {
    (void)state;
    char *environment[] = {"HOME=/home/x", NULL};
    cli self;
    failure why = {0};
    assert_int_equal(
        parse(&self, &why, environment,
              "--data-dir /srv/i/ graph impact a --verb deploy -o json --target=x --target y b --dry-run"),
        STATUS_OK);
    assert_string_equal(self.command->verb, "impact");
    assert_string_equal(self.data_dir, "/srv/i");
    assert_int_equal(self.format, FORMAT_JSON);
    assert_string_equal(cli_text(&self, "verb"), "deploy");
    assert_int_equal(cli_list(&self, "target")->count, 2);
    assert_string_equal(cli_list(&self, "target")->items[1], "y");
    assert_true(cli_given(&self, "dry-run"));
    assert_null(cli_text(&self, "state"));
    assert_int_equal(self.positional.count, 2);
    assert_string_equal(self.positional.items[1], "b");
    arena_free(&self.memory);
}

typedef struct data_dir_case {
    const char *variables[3];
    const char *line, *expected;
} data_dir_case;

static void the_data_folder_has_an_order(void **state) {
    (void)state;
    static const data_dir_case cases[] = {
        {{"HOME=/h"}, "status", "/h/.local/share/interlock"},
        {{"HOME=/h", "XDG_DATA_HOME=/x"}, "status", "/x/interlock"},
        {{"HOME=/h", "XDG_DATA_HOME=/x", "INTERLOCK_DATA_DIR=/d"}, "status", "/d"},
        {{"HOME=/h", "XDG_DATA_HOME=", "INTERLOCK_DATA_DIR="}, "status", "/h/.local/share/interlock"},
        {{"INTERLOCK_DATA_DIR=/d"}, "status --data-dir /f", "/f"},
        {{"INTERLOCK_DATA_DIR=/d"}, "--data-dir=/f status", "/f"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *environment[4] = {(char *)cases[i].variables[0], (char *)cases[i].variables[1],
                                (char *)cases[i].variables[2], NULL};
        cli self;
        failure why = {0};
        assert_int_equal(parse(&self, &why, environment, cases[i].line), STATUS_OK);
        assert_string_equal(self.data_dir, cases[i].expected);
        arena_free(&self.memory);
    }
}

typedef struct refusal {
    const char *line, *reason;
} refusal;

static void what_is_wrong_is_named(void **state) {
    (void)state;
    static const refusal cases[] = {
        {"", "COMMAND_MISSING"},
        {"nothing", "UNKNOWN_COMMAND"},
        {"graph", "UNKNOWN_COMMAND"},
        {"graph paint", "UNKNOWN_COMMAND"},
        {"--colour graph show", "UNKNOWN_FLAG"},
        {"graph show --colour", "UNKNOWN_FLAG"},
        {"graph show -x", "UNKNOWN_FLAG"},
        {"graph show --ver deploy", "UNKNOWN_FLAG"},
        {"graph show --verb", "VALUE_MISSING"},
        {"graph show -o", "VALUE_MISSING"},
        {"graph show -o xml", "BAD_CHOICE"},
        {"graph show --state dead", "BAD_CHOICE"},
        {"graph show --state health", "BAD_CHOICE"},
        {"graph show --dry-run=yes", "VALUE_UNEXPECTED"},
        {"graph show extra", "TOO_MANY_ARGUMENTS"},
        {"graph impact", "ARGUMENT_MISSING"},
        {"graph impact a b c", "TOO_MANY_ARGUMENTS"},
    };
    char *environment[] = {"HOME=/h", NULL};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cli self;
        failure why = {0};
        assert_int_equal(parse(&self, &why, environment, cases[i].line), STATUS_INVALID_ARGUMENT);
        assert_string_equal(why.reason, cases[i].reason);
        arena_free(&self.memory);
    }
}

static void lists_are_bounded(void **state) {
    (void)state;
    char *argv[2 + 2 * (CLI_LIST_MAX + 1)] = {"graph", "show"};
    char *environment[] = {"HOME=/h", NULL};
    int argc = 2;
    for (unsigned i = 0; i <= CLI_LIST_MAX; i++) {
        argv[argc++] = "--target";
        argv[argc++] = "x";
    }
    cli self = {0};
    failure why = {0};
    assert_int_equal(cli_parse(&self, groups, 2, argc, argv, environment, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "TOO_MANY");
}

static void help_is_asked_for_anywhere(void **state) {
    (void)state;
    static const char *const lines[] = {"graph show --help", "graph impact -h", "--help graph impact",
                                        "status -h"};
    char *environment[] = {"HOME=/h", NULL};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        cli self;
        failure why = {0};
        assert_int_equal(parse(&self, &why, environment, lines[i]), STATUS_OK);
        assert_true(self.help);
        assert_non_null(self.command);
        arena_free(&self.memory);
    }
    cli self;
    failure why = {0};
    assert_int_equal(parse(&self, &why, environment, "--help"), STATUS_OK);
    assert_null(self.command);
    assert_int_equal(parse(&self, &why, environment, "graph --help"), STATUS_OK);
    assert_null(self.command);
}

static void a_double_dash_ends_the_flags(void **state) {
    (void)state;
    char *environment[] = {"HOME=/h", NULL};
    cli self;
    failure why = {0};
    assert_int_equal(parse(&self, &why, environment, "graph impact -- --verb -"), STATUS_OK);
    assert_int_equal(self.positional.count, 2);
    assert_string_equal(self.positional.items[0], "--verb");
    assert_string_equal(self.positional.items[1], "-");
    arena_free(&self.memory);
}

static void numbers_and_pairs(void **state) {
    (void)state;
    char *environment[] = {"HOME=/h", NULL};
    cli self;
    failure why = {0};
    double value = 7;
    char *name = NULL, *content = NULL;
    assert_int_equal(parse(&self, &why, environment, "graph show --verb 0.25"), STATUS_OK);
    assert_int_equal(cli_number(&self, "verb", 0, 1, &value, &why), STATUS_OK);
    assert_true(value == 0.25);
    assert_int_equal(cli_number(&self, "verb", 0.5, 1, &value, &why), STATUS_INVALID_ARGUMENT);
    assert_int_equal(cli_number(&self, "state", 0, 1, &value, &why), STATUS_OK);
    assert_true(value == 0.25);
    assert_int_equal(cli_split_pair(&self, "k=v=w", &name, &content, &why), STATUS_OK);
    assert_string_equal(name, "k");
    assert_string_equal(content, "v=w");
    assert_int_equal(cli_split_pair(&self, "=v", &name, &content, &why), STATUS_INVALID_ARGUMENT);
    assert_int_equal(cli_split_pair(&self, "kv", &name, &content, &why), STATUS_INVALID_ARGUMENT);
    arena_free(&self.memory);
    assert_int_equal(parse(&self, &why, environment, "graph show --verb nan"), STATUS_OK);
    assert_int_equal(cli_number(&self, "verb", 0, 1, &value, &why), STATUS_INVALID_ARGUMENT);
    arena_free(&self.memory);
}

/* Every command of the real table has what its help needs. */
static void every_command_has_help(void **state) {
    (void)state;
    size_t count = 0;
    const cli_group *all = cli_all_commands(&count);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < all[i].count; j++) {
            const cli_command *command = &all[i].commands[j];
            buffer text;
            buffer_init(&text, 65536);
            cli_help(command, &text);
            assert_true(buffer_ok(&text));
            assert_non_null(command->run);
            assert_true(command->flag_count <= CLI_FLAGS_MAX);
            assert_non_null(strstr(text.data, "Examples:\n  "));
            assert_non_null(strstr(text.data, command->purpose));
            assert_non_null(strstr(text.data, "5 deferred"));
            assert_true(command->most >= command->least);
            assert_int_equal(command->most > 0, command->positional != NULL);
            for (size_t k = 0; k < command->flag_count; k++)
                assert_non_null(strstr(text.data, command->flags[k].name));
            buffer_free(&text);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_command_line_is_read),
        cmocka_unit_test(the_data_folder_has_an_order),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(lists_are_bounded),
        cmocka_unit_test(help_is_asked_for_anywhere),
        cmocka_unit_test(a_double_dash_ends_the_flags),
        cmocka_unit_test(numbers_and_pairs),
        cmocka_unit_test(every_command_has_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
