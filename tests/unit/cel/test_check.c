/* What the parser and the checker say: types of right expressions, and line, column and caret of wrong ones.
 */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "world.h"

typedef struct check_case {
    const char *text;
    const char *expected; /* a type, or the whole message */
} check_case;

static const check_case RIGHT[] = {
    {"i + 1", "int"},
    {"l.map(x, string(x))", "list(string)"},
    {"m", "map(string, string)"},
    {"{'a': [i]}", "map(string, list(int))"},
    {"[1, 'a']", "list(dyn)"},
    {"[]", "list(dyn)"},
    {"o.name", "string"},
    {"o.?name", "optional_type(string)"},
    {"o.?name.orValue('x')", "string"},
    {"[optional.none(), optional.of(1)]", "list(optional_type(int))"},
    {"type(1)", "type(int)"},
    {"u.anything", "dyn"},
    {"i == 1 ? l : []", "list(int)"},
    {"l.transformMap(k, v, string(v))", "map(int, string)"},
    {"cel.bind(x, 2u, x + 1u)", "uint"},
    {"math.greatest(1, 2)", "int"},
    {"math.greatest(1, 2.0)", "dyn"},
    {"timestamp(0) - timestamp(1)", "google.protobuf.Duration"},
    {"cidr('10.0.0.0/8').ip()", "net.IP"},
    {"google.protobuf.Int64Value{}", "wrapper(int)"},
    {"has(o.owner) && i in l && double_it(i) > 2", "bool"},
};

static const check_case WRONG[] = {
    {"i +", "1:4: the expression ends too early\n | i +\n | ...^"},
    {"i + missing", "1:5: undeclared reference to 'missing'\n | i + missing\n | ....^"},
    {"i + 's'", "1:3: found no matching overload for '_+_' applied to '(int, string)'\n | i + 's'\n | ..^"},
    {"'\xC3\xA9' ==\n  (i", "2:5: expected )\n |   (i\n | ....^"},
    {"o.nme", "1:2: undefined field 'nme' of Service\n | o.nme\n | .^"},
    {"i.name", "1:2: type 'int' does not support field selection\n | i.name\n | .^"},
    {"i && true", "1:1: expected type 'bool' but found 'int'\n | i && true\n | ^"},
    {"foo(1)", "1:1: undeclared reference to function 'foo'\n | foo(1)\n | ^"},
    {"i.all(x, true)", "1:1: a macro goes over a list or map, not over 'int'\n | i.all(x, true)\n | ^"},
    {"l.all(x.y, true)", "1:8: a macro's variable must be a simple name\n | l.all(x.y, true)\n | .......^"},
    {"has(i)", "1:5: has() takes a field selection: has(a.b)\n | has(i)\n | ....^"},
    {"9223372036854775808",
     "1:1: the number does not fit in an int; write it with a u for a uint\n | 9223372036854775808\n | ^"},
    {"'a", "1:1: the string does not end\n | 'a\n | ^"},
    {"'\\q'", "1:2: unknown escape sequence\n | '\\q'\n | .^"},
    {"1 ~ 2", "1:3: this character means nothing here\n | 1 ~ 2\n | ..^"},
    {"for + 1", "1:1: this word is reserved\n | for + 1\n | ^"},
    {"double_it('a')",
     "1:1: found no matching overload for 'double_it' applied to '(string)'\n | double_it('a')\n | ^"},
    {"s.plus(1)",
     "1:3: found no matching overload for 'plus' applied to 'string.(int)'\n | s.plus(1)\n | ..^"},
    {"unheard.Of{}", "1:8: 'unheard.Of' is no message that can be built\n | unheard.Of{}\n | .......^"},
    {"double_it(1,)", "1:13: expected an argument after the comma\n | double_it(1,)\n | ............^"},
    {"1 2", "1:3: expected an operator or the end\n | 1 2\n | ..^"},
};

static void test_right(void **state) {
    (void)state;
    world self;
    world_init(&self);
    for (size_t i = 0; i < sizeof RIGHT / sizeof *RIGHT; i++) {
        failure why = {0};
        const cel_type *type = NULL;
        arena memory;
        buffer text;
        arena_init(&memory, 4096, 1U << 20);
        buffer_init(&text, 4096);
        if (cel_check(self.environment, bytes_of_text(RIGHT[i].text), NULL, &memory, &type, &why) !=
            STATUS_OK)
            print_error("%s: %s\n", RIGHT[i].text, why.message);
        assert_non_null(type);
        cel_type_print(type, &text);
        assert_string_equal(text.data, RIGHT[i].expected);
        buffer_free(&text);
        arena_free(&memory);
    }
    world_free(&self);
}

static void test_wrong(void **state) {
    (void)state;
    world self;
    world_init(&self);
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        failure why = {0};
        cel_program *program = NULL;
        assert_int_equal(cel_compile(self.environment, bytes_of_text(WRONG[i].text), NULL, &program, &why),
                         STATUS_INVALID_ARGUMENT);
        assert_null(program);
        assert_string_equal(why.message, WRONG[i].expected);
    }
    world_free(&self);
}

static void test_wanted_result(void **state) {
    (void)state;
    world self;
    world_init(&self);
    failure why;
    cel_program *program = NULL;
    cel_options options = {.result = &cel_type_bool};
    assert_int_equal(cel_compile(self.environment, bytes_of_text("i + 1"), &options, &program, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.message, "1:3: the expression must yield bool, not int\n | i + 1\n | ..^");
    assert_int_equal(cel_compile(self.environment, bytes_of_text("u.x"), &options, &program, &why),
                     STATUS_OK);
    cel_program_free(program);
    world_free(&self);
}

static void test_declarations(void **state) {
    (void)state;
    world self;
    world_init(&self);
    failure why;
    assert_int_equal(cel_environment_variable(self.environment, "i", &cel_type_int, NULL, &why),
                     STATUS_ALREADY_EXISTS);
    assert_int_equal(cel_environment_variable(self.environment, "a..b", &cel_type_int, NULL, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_int_equal(cel_environment_variable(self.environment, "", &cel_type_int, NULL, &why),
                     STATUS_INVALID_ARGUMENT);
    uint32_t slot = 0;
    assert_int_equal(cel_environment_variable(self.environment, "a.b", &cel_type_int, &slot, &why),
                     STATUS_OK);
    assert_int_equal(slot, 7);
    assert_null(cel_type_parameter(cel_environment_arena(self.environment), "_T"));
    world_free(&self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_wanted_result),
        cmocka_unit_test(test_declarations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
