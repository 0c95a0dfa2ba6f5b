/* Policy documents: good ones load, each bad one is refused at its place. documents/bad.txt says what is
 * wrong with each; tests/system holds the same files against the JSON Schema. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policies/check.h"
#include "wrong.h"

#define FOLDER TEST_DATA_DIR "/documents/"

static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "re");
    if (file == NULL)
        WRONG("%s is missing", path);
    char *text = malloc(1U << 20);
    assert_non_null(text);
    *size = fread(text, 1, 1U << 20, file);
    fclose(file);
    return text;
}

typedef struct loaded {
    arena memory;
    policy_set *set;
    policy_problems problems;
    failure why;
    status_code code;
    buffer said; /* every problem, a line each */
} loaded;

static void load_text(loaded *self, bytes text) {
    memset(self, 0, sizeof *self);
    arena_init(&self->memory, 65536, 16U << 20);
    buffer_init(&self->said, 1U << 20);
    policy_source source = {"test.yaml", text};
    self->code = policies_load(&source, 1, &self->memory, &self->set, &self->problems, &self->why);
    for (size_t i = 0; i < self->problems.count; i++) {
        policy_problem_print(&self->problems.items[i], &self->said);
        buffer_text(&self->said, "\n");
    }
}

static void load_file(loaded *self, const char *path) {
    size_t size = 0;
    char *text = read_file(path, &size);
    load_text(self, bytes_of(text, size));
    free(text);
}

static void loaded_free(loaded *self) {
    policies_unref(self->set);
    buffer_free(&self->said);
    arena_free(&self->memory);
}

static char *field_of(char **at) {
    char *start = *at + strspn(*at, " ");
    char *end = strstr(start, ";");
    if (end == NULL)
        end = strchr(start, '\n');
    assert_non_null(end);
    *at = end + 1;
    *end = '\0';
    return start;
}

static bool check_bad(char *line) {
    const char *name = field_of(&line), *place = field_of(&line), *message = field_of(&line);
    char path[512], begins[64];
    loaded self;
    (void)snprintf(path, sizeof path, FOLDER "bad-%s.yaml", name);
    load_file(&self, path);
    (void)snprintf(begins, sizeof begins, place[0] == '\0' ? "test.yaml" : "test.yaml:%s", place);
    bool told = false;
    buffer_text(&self.said, "");
    char *save = NULL;
    for (char *said = strtok_r(self.said.data, "\n", &save); said != NULL; said = strtok_r(NULL, "\n", &save))
        told = told || (strncmp(said, begins, strlen(begins)) == 0 && strstr(said, message) != NULL);
    told = told && self.code == STATUS_INVALID_ARGUMENT;
    if (!told)
        print_error("%s: wanted %s … %s, said %s\n", name, begins, message, self.why.message);
    loaded_free(&self);
    return told;
}

static void test_bad_documents(void **state) {
    (void)state;
    FILE *file = fopen(FOLDER "bad.txt", "re");
    assert_non_null(file);
    char line[512];
    size_t count = 0, wrong = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (line[0] == '#')
            continue;
        wrong += check_bad(line) ? 0 : 1;
        count++;
    }
    fclose(file);
    assert_int_equal(wrong, 0);
    assert_true(count >= 55);
}

static void test_good_documents(void **state) {
    (void)state;
    DIR *folder = opendir(FOLDER);
    assert_non_null(folder);
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (strncmp(entry->d_name, "good-", 5) != 0)
            continue;
        char path[512];
        loaded self;
        (void)snprintf(path, sizeof path, FOLDER "%.200s", entry->d_name);
        load_file(&self, path);
        if (self.code != STATUS_OK)
            WRONG("%s: %s", entry->d_name, self.said.data);
        loaded_free(&self);
        count++;
    }
    closedir(folder);
    assert_true(count >= 3);
}

static void test_every_key_arrives(void **state) {
    (void)state;
    loaded self;
    load_file(&self, FOLDER "good-everything.yaml");
    assert_int_equal(self.code, STATUS_OK);
    const policy_set *set = self.set;
    assert_string_equal(set->name, "test");
    assert_int_equal(set->version, 7);
    assert_int_equal(set->rule_count, 1);
    const policy_rule *rule = &set->rules[0];
    assert_string_equal(rule->quorum, "two-of-us");
    assert_int_equal(rule->severity, POLICY_SEVERITY_HIGH);
    assert_int_equal(rule->target_count, 2);
    assert_int_equal(rule->targets[1].tiers, 3);
    assert_int_equal(rule->targets[1].label_count, 2);
    assert_int_equal(rule->window_count, 3);
    for (size_t i = 0; i < POLICY_BOUND_COUNT; i++)
        assert_true(rule->bounds.of[i].stated);
    assert_int_equal(set->quorums[0].group_count, 2);
    assert_int_equal(set->quorums[0].expires_s, 2700);
    assert_true(set->rate_limits[0].per_target && set->rate_limits[0].per_agent &&
                !set->rate_limits[0].per_verb);
    assert_int_equal(set->stages[0].stage, POLICY_STAGE_GREEN_PATH);
    assert_string_equal(set->zones[0].reaches.items[0], "shop");
    loaded_free(&self);
}

/* What editors of other systems put into a file changes nothing. */
static void test_byte_order_mark_and_line_ends(void **state) {
    (void)state;
    static const char text[] = "\xef\xbb\xbf"
                               "apiVersion: interlock/v1\r\nkind: PolicySet\r\nmetadata:\r\n"
                               "  name: test\r\n  version: 3\r\n";
    loaded self;
    load_text(&self, bytes_of_text(text));
    assert_int_equal(self.code, STATUS_OK);
    assert_int_equal(self.set->version, 3);
    loaded_free(&self);
}

static void test_bytes_that_are_no_text(void **state) {
    (void)state;
    static const char *const texts[] = {"\xff\xfe", "a: \xc3", ""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        loaded self;
        load_text(&self, bytes_of_text(texts[i]));
        assert_int_equal(self.code, STATUS_INVALID_ARGUMENT);
        loaded_free(&self);
    }
    loaded self;
    load_text(&self, bytes_of("a\0b", 3));
    assert_int_equal(self.code, STATUS_INVALID_ARGUMENT);
    loaded_free(&self);
}

/* One look shows everything that is wrong, to a bound. */
static void test_many_problems(void **state) {
    (void)state;
    buffer text;
    loaded self;
    buffer_init(&text, 1U << 20);
    for (int i = 0; i < 300; i++)
        buffer_text(&text,
                    "---\napiVersion: interlock/v1\nkind: Stage\nmetadata: {name: s, x: 1}\nspec: {}\n");
    load_text(&self, buffer_bytes(&text));
    assert_int_equal(self.code, STATUS_INVALID_ARGUMENT);
    assert_int_equal(self.problems.count, POLICIES_PROBLEMS);
    loaded_free(&self);
    buffer_free(&text);
}

/* Sixteen megabytes of brackets, of one key, of one text: refused within bounds. */
static void test_large_sources(void **state) {
    (void)state;
    static const char *const parts[] = {"[[],[]],", "- a\n", "k", "{a: ", "\"a\", "};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        buffer text;
        loaded self;
        buffer_init(&text, 2U << 20);
        while (text.size < (1U << 20) && buffer_ok(&text))
            buffer_text(&text, parts[i]);
        load_text(&self, buffer_bytes(&text));
        assert_int_not_equal(self.code, STATUS_OK);
        assert_null(self.set);
        loaded_free(&self);
        buffer_free(&text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_documents),          cmocka_unit_test(test_good_documents),
        cmocka_unit_test(test_every_key_arrives),      cmocka_unit_test(test_byte_order_mark_and_line_ends),
        cmocka_unit_test(test_bytes_that_are_no_text), cmocka_unit_test(test_many_problems),
        cmocka_unit_test(test_large_sources),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
