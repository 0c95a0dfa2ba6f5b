/* Hostile expressions end with an error, in bounded time and memory. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

#define MILLION 1000000U

static char text[2 * MILLION];

/* `piece` repeated `count` times, then `middle`, then `end` as often. */
static bytes nested(const char *piece, const char *middle, const char *end, uint32_t count) {
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s", piece);
    used += (size_t)snprintf(text + used, sizeof text - used, "%s", middle);
    for (uint32_t i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s", end);
    return bytes_of(text, used);
}

static status_code compile(const world *self, bytes source, uint32_t source_bytes, failure *why) {
    cel_program *program = NULL;
    cel_options options = {.source_bytes = source_bytes};
    status_code code = cel_compile(self->environment, source, &options, &program, why);
    cel_program_free(program);
    return code;
}

static void test_long(void **state) {
    (void)state;
    world self;
    world_init(&self);
    failure why;
    bytes long_sum = nested("i || ", "true", "", 200000);
    assert_int_equal(compile(&self, long_sum, 0, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "CEL_TOO_LONG");
    /* 1 MB is no danger where it is allowed. */
    assert_int_equal(compile(&self, nested("i == 1 || ", "true", "", 100000), 2 * MILLION, &why), STATUS_OK);
    assert_int_equal(compile(&self, nested("'aaaaaaaa', ", "", "", 80000), 2 * MILLION, &why),
                     STATUS_INVALID_ARGUMENT);
    world_free(&self);
}

static void test_deep(void **state) {
    (void)state;
    static const struct {
        const char *piece, *middle, *end;
    } SHAPES[] = {{"(", "1", ")"},
                  {"[", "", "]"},
                  {"{1: ", "1", "}"},
                  {"double_it(", "1", ")"},
                  {"true ? 1 : ", "1", ""},
                  {"!", "true", ""},
                  {"-", "i", ""},
                  {"1 + ", "1", ""},
                  {"[0][", "0", "]"},
                  {"l.map(x, ", "1", ")"},
                  {"i", "", ".f()"},
                  {"a", "", "[0]"},
                  {"cel.bind(x, 1, ", "1", ")"},
                  {"u", "", ".a"},
                  {"has(u.", "a", ")"}};
    world self;
    world_init(&self);
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        failure why;
        bytes source = nested(SHAPES[i].piece, SHAPES[i].middle, SHAPES[i].end, 10000);
        assert_int_equal(compile(&self, source, 2 * MILLION, &why), STATUS_INVALID_ARGUMENT);
    }
    failure why;
    /* As deep as allowed, nothing takes longer than the text is long. */
    static const char *const ALLOWED[][3] = {{"(", "1", ")"},
                                             {"true ? 1 : ", "1", ""},
                                             {"true && (", "true", ")"},
                                             {"(", "true", " || b)"},
                                             {"[", "", "]"},
                                             {"{1: ", "1", "}"},
                                             {"double_it(", "1", ")"},
                                             {"[[0]].map(x, ", "1", ")"},
                                             {"[0].exists(x, x == 0 && ", "true", ")"},
                                             {"cel.bind(x, ", "1", ", x)"},
                                             {"optional.of(1).optMap(x, ", "1", ")"},
                                             {"optional.none().orValue(", "1", ")"},
                                             {"[i, ", "1", "]"},
                                             {"type(", "1", ")"}};
    for (size_t i = 0; i < sizeof ALLOWED / sizeof ALLOWED[0]; i++) {
        bytes source = nested(ALLOWED[i][0], ALLOWED[i][1], ALLOWED[i][2], 80);
        cel_program *program = NULL;
        cel_options options = {.unchecked = true};
        assert_int_equal(cel_compile(self.environment, source, &options, &program, &why), STATUS_OK);
        cel_program_free(program);
        status_code code = compile(&self, source, 0, &why);
        assert_true(code == STATUS_OK || code == STATUS_INVALID_ARGUMENT);
    }
    assert_int_equal(compile(&self, nested("(", "1", ")", CEL_DEPTH - 1), 0, &why), STATUS_OK);
    assert_int_equal(compile(&self, nested("(", "1", ")", CEL_DEPTH), 0, &why), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(why.message, "nested too deep"));
    world_free(&self);
}

static cel_value count_up(const void *host, uint32_t index) {
    (void)host;
    return cel_int(index);
}

/* Evaluates over `big`, a list of a million elements that the host makes as they are asked for. */
static status_code over_million(const char *source, uint64_t cost_limit, size_t memory_limit,
                                cel_value *result, cel_run *run, failure *why) {
    static const cel_list BIG = {.count = MILLION, .at = count_up};
    static arena memory;
    cel_environment *environment = cel_environment_new("");
    assert_non_null(environment);
    const cel_type *type = cel_type_list(cel_environment_arena(environment), &cel_type_int);
    assert_int_equal(cel_environment_variable(environment, "big", type, NULL, why), STATUS_OK);
    cel_program *program = NULL;
    assert_int_equal(cel_compile(environment, bytes_of_text(source), NULL, &program, why), STATUS_OK);
    cel_value value = cel_list_of(&BIG);
    arena_init(&memory, 4096, memory_limit);
    *run = (cel_run){.values = &value, .count = 1, .memory = &memory, .cost_limit = cost_limit};
    status_code code = cel_evaluate(program, run, result, why);
    arena_free(&memory);
    cel_program_free(program);
    cel_environment_free(environment);
    return code;
}

static void test_million(void **state) {
    (void)state;
    failure why;
    cel_value result;
    cel_run run;
    assert_int_equal(over_million("big.all(x, x >= 0)", 0, MILLION, &result, &run, &why),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(why.reason, "CEL_COST");
    assert_in_range(run.cost, CEL_COST_LIMIT, CEL_COST_LIMIT + 100);
    assert_int_equal(over_million("big.map(x, big.map(y, x * y))", 0, 64 * MILLION, &result, &run, &why),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(over_million("999999 in big && big == big", 1000, MILLION, &result, &run, &why),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(why.reason, "CEL_COST");
    assert_int_equal(over_million("big.map(x, x)", 100 * MILLION, MILLION, &result, &run, &why),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(why.reason, "CEL_MEMORY");
    /* A stop is no error that || could absorb. */
    assert_int_equal(over_million("big.all(x, x >= 0) || true", 0, MILLION, &result, &run, &why),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(over_million("big.exists(x, x == 3)", 0, MILLION, &result, &run, &why), STATUS_OK);
    assert_true(result.boolean);
    assert_int_equal(over_million("big.all(x, x >= 0)", 100 * MILLION, MILLION, &result, &run, &why),
                     STATUS_OK);
    assert_true(result.boolean);
}

/* Texts that double with every level run into the memory's bound, not into the machine's. */
static void test_growth(void **state) {
    (void)state;
    world self;
    world_init(&self);
    failure why;
    cel_value result;
    cel_program *program = NULL;
    size_t used = 0;
    for (int i = 0; i < 60; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "cel.bind(x, %s, ", i == 0 ? "s" : "x + x");
    used += (size_t)snprintf(text + used, sizeof text - used, "x");
    memset(text + used, ')', 60);
    assert_int_equal(cel_compile(self.environment, bytes_of(text, used + 60), NULL, &program, &why),
                     STATUS_OK);
    arena memory;
    arena_init(&memory, 4096, 1U << 20);
    cel_run run = world_run(&self, &memory);
    assert_int_equal(cel_evaluate(program, &run, &result, &why), STATUS_RESOURCE_EXHAUSTED);
    arena_free(&memory);
    cel_program_free(program);
    world_free(&self);
}

/* The type of {x: x} has twice the size of x's. */
static void test_doubling_types(void **state) {
    (void)state;
    static const char *const FORMS[] = {"cel.bind(x, {x: x}, ", "cel.bind(x, [{x: x}, {}][0], ",
                                        "cel.bind(x, {x: x} == {x: x} ? {x: x} : {x: x}, ",
                                        "optional.of(1).optMap(x, {x: x}).optMap(x, "};
    world self;
    world_init(&self);
    for (size_t i = 0; i < sizeof FORMS / sizeof *FORMS; i++) {
        size_t used = (size_t)snprintf(text, sizeof text, "cel.bind(x, 1, ");
        for (int level = 0; level < 40; level++)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s", FORMS[i]);
        used += (size_t)snprintf(text + used, sizeof text - used, "x");
        memset(text + used, ')', 41);
        failure why;
        status_code code = compile(&self, bytes_of(text, used + 41), 0, &why);
        assert_true(code != STATUS_OK ||
                    i > 0); /* the others may have become dyn on the way; they must only end */
    }
    world_free(&self);
}

static void test_regex(void **state) {
    (void)state;
    world self;
    world_init(&self);
    failure why;
    cel_value result;
    cel_program *program = NULL;
    /* Catastrophic for backtracking; RE2 is linear. */
    memset(text, 'a', 50000);
    int size = snprintf(text + 50000, 100, "b");
    cel_value values[2] = {cel_int(0), cel_text(text, 50000U + (size_t)size)};
    assert_int_equal(
        cel_compile(self.environment, bytes_of_text("s.matches('^(a+)+$')"), NULL, &program, &why),
        STATUS_OK);
    cel_run run = {.values = values, .count = 2};
    assert_int_equal(cel_evaluate(program, &run, &result, &why), STATUS_OK);
    assert_true(result.kind == CEL_BOOL && !result.boolean);
    cel_program_free(program);
    /* A pattern that is not constant, and too long. */
    assert_int_equal(cel_compile(self.environment, bytes_of_text("'a'.matches(s)"), NULL, &program, &why),
                     STATUS_OK);
    run = (cel_run){.values = values, .count = 2};
    assert_int_equal(cel_evaluate(program, &run, &result, &why), STATUS_OK);
    assert_int_equal(result.kind, CEL_ERROR);
    cel_program_free(program);
    world_free(&self);
}

typedef struct cost_case {
    const char *text;
    uint64_t run; /* what it may cost at least */
    bool bounded;
} cost_case;

/* The estimate holds: what an evaluation costs is between its bounds. */
static void test_estimate(void **state) {
    (void)state;
    static const cost_case CASES[] = {
        {"i + 1 == 4", 1, true},
        {"[1, 2, 3].map(x, x * x).size()", 10, true},
        {"l.all(x, x > 0)", 1, false},
        {"s.contains('out')", 1, false},
        {"i > 5 ? [1].map(x, x) : []", 1, true},
        {"l.map(x, l.map(y, x + y))", 9, false},
        {"s.matches('a*b')", 1, false},
        {"l == [1, 2, 3] && 3 in l", 1, false},
        {"'a' + s + 'b'", 1, false},
        {"{'a': 1}.transformMapEntry(k, v, {k + 'x': v})", 1, false},
    };
    world self;
    world_init(&self);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        for (uint32_t largest = 0; largest <= 8; largest += 8) {
            failure why;
            cel_value result;
            cel_program *program = NULL;
            cel_options options = {.largest = largest};
            arena memory;
            arena_init(&memory, 4096, 1U << 20);
            assert_int_equal(
                cel_compile(self.environment, bytes_of_text(CASES[i].text), &options, &program, &why),
                STATUS_OK);
            cel_cost cost = cel_program_cost(program);
            cel_run run = world_run(&self, &memory);
            assert_int_equal(cel_evaluate(program, &run, &result, &why), STATUS_OK);
            assert_true(cost.least <= run.cost && run.cost <= cost.most);
            assert_true(run.cost >= CASES[i].run);
            assert_true((cost.most != CEL_COST_UNBOUNDED) == (largest > 0 || CASES[i].bounded));
            cel_program_free(program);
            arena_free(&memory);
        }
    world_free(&self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long),     cmocka_unit_test(test_deep),  cmocka_unit_test(test_million),
        cmocka_unit_test(test_growth),   cmocka_unit_test(test_regex), cmocka_unit_test(test_doubling_types),
        cmocka_unit_test(test_estimate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
