/* What every service accepts on its command line: flags that stand alone, the configuration file's name,
 * peers. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "daemon_options.h"

static void flags_that_stand_alone_are_taken_out(void **state) {
    (void)state;
    char *argv[] = {"--data-dir", "-n", "-n", "--config", "a.yaml", "--http=x:1"};
    char *environment[] = {"INTERLOCK_CONFIG=b.yaml", NULL};
    daemon_arguments arguments = {0};
    failure why = {0};
    assert_int_equal(daemon_arguments_read(&arguments, daemon_common_options, daemon_common_option_count, 6,
                                           argv, environment, &why),
                     STATUS_OK);
    assert_true(arguments.check_only);
    assert_false(arguments.help);
    assert_string_equal(arguments.config, "a.yaml");
    assert_int_equal(arguments.rest_count, 5); /* the first -n is given to the settings, which refuse it */
    assert_string_equal(arguments.rest[1], "-n");
    free(arguments.rest);
}

static void the_configuration_may_come_from_the_environment(void **state) {
    (void)state;
    char *argv[] = {"--help"};
    char *environment[] = {"A=b", "INTERLOCK_CONFIG=b.yaml", NULL};
    daemon_arguments arguments = {0};
    failure why = {0};
    assert_int_equal(daemon_arguments_read(&arguments, daemon_common_options, daemon_common_option_count, 1,
                                           argv, environment, &why),
                     STATUS_OK);
    assert_string_equal(arguments.config, "b.yaml");
    assert_true(arguments.help);
    assert_int_equal(arguments.rest_count, 0);
    free(arguments.rest);
}

static void a_flag_is_no_configuration_file(void **state) {
    (void)state;
    char *argv[] = {"--config", "-n"};
    char *environment[] = {NULL};
    daemon_arguments arguments = {0};
    failure why = {0};
    assert_int_equal(daemon_arguments_read(&arguments, daemon_common_options, daemon_common_option_count, 2,
                                           argv, environment, &why),
                     STATUS_OK);
    assert_null(arguments.config);
    assert_false(arguments.check_only);
    assert_int_equal(arguments.rest_count, 2);
    free(arguments.rest);
}

static void peers_are_read(void **state) {
    (void)state;
    daemon_peers peers = {.count = 0};
    failure why = {0};
    assert_int_equal(daemon_peers_parse("uid=1000:agent|operator,uid=0:auditor", &peers, &why), STATUS_OK);
    assert_int_equal(peers.count, 2);
    assert_int_equal(peers.uids[0], 1000);
    assert_int_equal(peers.roles[0], ROLE_AGENT | ROLE_OPERATOR);
    assert_int_equal(peers.uids[1], 0);
    assert_int_equal(peers.roles[1], ROLE_AUDITOR);
    assert_int_equal(daemon_peers_parse("", &peers, &why), STATUS_OK);
    assert_int_equal(peers.count, 0);
}

static void wrong_peers_are_refused_and_leave_the_output(void **state) {
    (void)state;
    static const char *const cases[] = {
        "1000:agent", "uid=:agent", "uid=x:agent",          "uid=-1:agent", "uid=1000",
        "uid=1000:",  "uid=1:king", "uid=1:agent,nonsense", "uid=1x:agent", "uid=4294967296:agent"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        daemon_peers peers = {.count = 77};
        failure why = {0};
        assert_int_equal(daemon_peers_parse(cases[i], &peers, &why), STATUS_INVALID_ARGUMENT);
        assert_string_equal(why.field, "peers");
        assert_int_equal(peers.count, 77);
    }
}

static void log_settings_are_words(void **state) {
    (void)state;
    log_level least = LOG_ERROR;
    log_format format = LOG_LOGFMT;
    failure why = {0};
    assert_int_equal(daemon_log_level_parse("debug", &least, &why), STATUS_OK);
    assert_int_equal(least, LOG_DEBUG);
    assert_int_equal(daemon_log_level_parse("loud", &least, &why), STATUS_INVALID_ARGUMENT);
    assert_int_equal(daemon_log_format_parse("json", &format, &why), STATUS_OK);
    assert_int_equal(format, LOG_JSON);
    assert_int_equal(daemon_log_format_parse("xml", &format, &why), STATUS_INVALID_ARGUMENT);
}

static void own_options_follow_the_common_ones(void **state) {
    (void)state;
    const option own[] = {{.name = "tree", .kind = OPTION_TEXT, .help = "a tree"}};
    daemon_spec spec = {.name = "test", .options = own, .option_count = 1};
    size_t count = 0;
    option *joined = daemon_options_join(&spec, &count);
    assert_non_null(joined);
    assert_int_equal(count, daemon_common_option_count + 1);
    assert_string_equal(joined[count - 1].name, "tree");
    free(joined);
}

static void a_path_that_does_not_fit_is_refused(void **state) {
    (void)state;
    char path[DAEMON_PATH_BYTES] = "kept", deep[400];
    memset(deep, 'd', sizeof deep);
    deep[sizeof deep - 1] = '\0';
    failure why = {0};
    assert_int_equal(daemon_run_path("/data", "audit", ".sock", path, &why), STATUS_OK);
    assert_string_equal(path, "/data/run/audit.sock");
    assert_int_equal(daemon_run_path(deep, "audit", ".sock", path, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(path, "/data/run/audit.sock");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_that_stand_alone_are_taken_out),
        cmocka_unit_test(the_configuration_may_come_from_the_environment),
        cmocka_unit_test(a_flag_is_no_configuration_file),
        cmocka_unit_test(peers_are_read),
        cmocka_unit_test(wrong_peers_are_refused_and_leave_the_output),
        cmocka_unit_test(log_settings_are_words),
        cmocka_unit_test(own_options_follow_the_common_ones),
        cmocka_unit_test(a_path_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
