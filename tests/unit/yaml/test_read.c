/* What is read, where it stands, and what is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"
#include "yaml/read.h"

static const yaml_limits limits = {.depth = 4, .keys = 3, .entries = 3};

static bytes text_of(const char *text) {
    return bytes_of(text, strlen(text));
}

static void test_tree(void **state) {
    (void)state;
    arena memory;
    arena_init(&memory, 4096, 1 << 20);
    yaml_problem problem = {0};
    const yaml_item *root = NULL;
    const char *text = "name: cart\nlist:\n  - \"a b\"\n  - 2\nnote: |\n  x\n  y\n";
    assert_int_equal(yaml_read(text_of(text), limits, &memory, &root, &problem), STATUS_OK);
    assert_non_null(root);
    assert_int_equal(root->kind, YAML_MAP);
    assert_int_equal(root->count, 3);
    const yaml_item *name = yaml_member(root, "name");
    assert_string_equal(name->text, "cart");
    assert_int_equal(name->column, 7);
    assert_int_equal(name->key->column, 1);
    const yaml_item *list = yaml_member(root, "list");
    assert_int_equal(list->count, 2);
    assert_int_equal(list->first->style, YAML_QUOTED);
    assert_string_equal(list->first->text, "a b");
    assert_int_equal(list->first->next->line, 4);
    assert_string_equal(yaml_member(root, "note")->text, "x\ny\n");
    assert_null(yaml_member(root, "other"));
    assert_null(yaml_member(list, "name"));
    arena_free(&memory);
}

typedef struct refusal {
    const char *text;
    uint32_t line, column;
    const char *message;
} refusal;

static void refused_otherwise(const char *text, status_code code, const yaml_problem *problem) {
    print_error("%s: %d at %u:%u: %s\n", text, code, problem->line, problem->column, problem->message);
    assert_true(false);
}

static void test_refused(void **state) {
    (void)state;
    static const refusal cases[] = {
        {"a: 1\nb: &x 2\n", 2, 4, "anchors"},
        {"a: *x\n", 1, 4, "aliases"},
        {"a: !!str 1\n", 1, 4, "tags"},
        {"<<: {a: 1}\n", 1, 1, "merge"},
        {"a: 1\na: 2\n", 2, 1, "twice"},
        {"? [a]\n: 1\n", 1, 3, "key must be text"},
        {"[[[[[1]]]]]", 1, 5, "too deep"},
        {"[1, 2, 3, 4]", 1, 11, "more entries"},
        {"{a: 1, b: 2, c: 3, d: 4}", 1, 23, "more entries"},
        {"a:\n\t- b\n", 2, 1, "tabs"},
        {"a: \"b\\0c\"\n", 1, 4, "NUL"},
        {"a: b: c\n", 1, 5, "not YAML"},
        {"a: 1\n---\nb: 2\n", 3, 1, "second"},
        {"a: \"\xff\"\n", 0, 0, "UTF-8"},
        {"a: [1\n", 2, 1, "not YAML"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        arena memory;
        arena_init(&memory, 4096, 1 << 20);
        yaml_problem problem = {0};
        const yaml_item *root = NULL;
        status_code code = yaml_read(text_of(cases[i].text), limits, &memory, &root, &problem);
        if (code != STATUS_INVALID_ARGUMENT || problem.line != cases[i].line ||
            problem.column != cases[i].column || strstr(problem.message, cases[i].message) == NULL)
            refused_otherwise(cases[i].text, code, &problem);
        assert_null(root);
        arena_free(&memory);
    }
}

/* A byte order mark, CRLF, JSON and nothing at all are what they look like. */
static void test_accepted(void **state) {
    (void)state;
    static const char *const cases[] = {"\xef\xbb\xbf"
                                        "a: 1\n",
                                        "a: 1\r\n", "{\"a\": 1}", "---\na: 1\n...\n"};
    arena memory;
    yaml_problem problem = {0};
    arena_init(&memory, 4096, 1 << 20);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const yaml_item *root = NULL;
        assert_int_equal(yaml_read(text_of(cases[i]), limits, &memory, &root, &problem), STATUS_OK);
        assert_string_equal(yaml_member(root, "a")->text, "1");
    }
    static const char *const nothing[] = {"", "# only words\n", "---\n"};
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++) {
        const yaml_item *root = NULL;
        assert_int_equal(yaml_read(text_of(nothing[i]), limits, &memory, &root, &problem), STATUS_OK);
        assert_null(root);
    }
    arena_free(&memory);
}

static void test_documents(void **state) {
    (void)state;
    arena memory;
    yaml_problem problem = {0};
    arena_init(&memory, 4096, 1 << 20);
    yaml_reader *reader = yaml_reader_new(text_of("a: 1\n---\nb: 2\n"), limits);
    const yaml_item *root = NULL;
    assert_non_null(reader);
    assert_int_equal(yaml_next(reader, &memory, &root, &problem), STATUS_OK);
    assert_non_null(yaml_member(root, "a"));
    assert_int_equal(yaml_next(reader, &memory, &root, &problem), STATUS_OK);
    assert_int_equal(yaml_member(root, "b")->line, 3);
    assert_int_equal(yaml_next(reader, &memory, &root, &problem), STATUS_OK);
    assert_null(root);
    yaml_reader_free(reader);
    yaml_reader_free(NULL);
    arena_free(&memory);
}

static void test_no_memory(void **state) {
    (void)state;
    arena memory;
    yaml_problem problem = {0};
    const yaml_item *root = NULL;
    arena_init(&memory, 256, 512);
    assert_int_equal(yaml_read(text_of("[aaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbb, [c, [d, e]]]"), limits,
                               &memory, &root, &problem),
                     STATUS_RESOURCE_EXHAUSTED);
    arena_free(&memory);
}

static void place_is(const char *text, uint32_t line, uint32_t column, const char *expected) {
    buffer out;
    buffer_init(&out, 4096);
    yaml_show_place(text_of(text), line, column, &out);
    assert_int_equal(out.size, strlen(expected));
    assert_memory_equal(out.size > 0 ? (const char *)out.data : "", expected, out.size);
    buffer_free(&out);
}

static void test_place(void **state) {
    (void)state;
    place_is("a: 1\r\nb: x\n", 2, 4, "\n | b: x\n |    ^");
    place_is("a: 1", 1, 1, "\n | a: 1\n | ^");
    place_is("a:\t1", 1, 4, "\n | a: 1\n |    ^");
    place_is("a: 1", 0, 0, "");
    place_is("\xff", 1, 1, "");
    place_is("a\n", 9, 1, "\n | \n | ^");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),      cmocka_unit_test(test_refused),   cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_documents), cmocka_unit_test(test_no_memory), cmocka_unit_test(test_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
