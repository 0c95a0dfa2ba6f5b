/* The cases of cases.txt: what expressions yield over a host's values. */
#include "test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

static cel_value evaluate(const world *self, const char *text, cel_program **program, arena *memory) {
    failure why;
    cel_value result;
    cel_options options = {.unchecked = true};
    if (cel_compile(self->environment, bytes_of_text(text), &options, program, &why) != STATUS_OK) {
        print_error("%s\n%s\n", text, why.message);
        assert_true(false);
    }
    cel_run run = world_run(self, memory);
    assert_int_equal(cel_evaluate(*program, &run, &result, &why), STATUS_OK);
    return result;
}

static bool begins(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void check_case(const world *self, const char *text, const char *expected) {
    cel_program *program = NULL;
    cel_program *other = NULL;
    arena memory;
    arena_init(&memory, 1024, 1U << 20);
    cel_value result = evaluate(self, text, &program, &memory);
    bool ok = false;
    if (begins(expected, "error: ")) {
        ok = result.kind == CEL_ERROR && strstr(result.text, expected + 7) != NULL;
    } else if (begins(expected, "unknown: ")) {
        ok = result.kind == CEL_UNKNOWN && strcmp(result.text, expected + 9) == 0;
    } else {
        cel_value wanted = evaluate(self, expected, &other, &memory);
        ok = wanted.kind == result.kind && wanted.kind < CEL_UNKNOWN && cel_equal(wanted, result);
    }
    if (!ok)
        print_error("%s => %s, but it is a %s %s\n", text, expected, cel_kind_name((cel_kind)result.kind),
                    result.kind == CEL_ERROR ? result.text : "");
    assert_true(ok);
    cel_program_free(program);
    cel_program_free(other);
    arena_free(&memory);
}

static void test_cases(void **state) {
    (void)state;
    world self;
    world_init(&self);
    FILE *file = fopen(TEST_DATA_DIR "/cases.txt", "r");
    assert_non_null(file);
    char line[400];
    unsigned count = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = 0;
        char *arrow = strstr(line, " => ");
        if (line[0] == '#' || arrow == NULL)
            continue;
        *arrow = 0;
        check_case(&self, line, arrow + 4);
        count++;
    }
    fclose(file);
    assert_in_range(count, 90, 1000);
    world_free(&self);
}

/* The error of a value says where in the source it arose. */
static void test_error_place(void **state) {
    (void)state;
    world self;
    world_init(&self);
    cel_program *program = NULL;
    arena memory;
    arena_init(&memory, 1024, 1U << 20);
    cel_value result = evaluate(&self, "i > 0 &&\n  l[7] == 2", &program, &memory);
    failure why;
    assert_int_equal(result.kind, CEL_ERROR);
    assert_int_equal(cel_error_describe(program, result, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.message, "2:4: index out of range\n |   l[7] == 2\n | ...^");
    cel_program_free(program);
    arena_free(&memory);
    world_free(&self);
}

/* A condition over scalars and fields needs no memory at all; one that makes a text says that there is none.
 */
static void test_no_memory(void **state) {
    (void)state;
    world self;
    world_init(&self);
    failure why;
    cel_value result;
    cel_program *program = NULL;
    const char *scalar = "o.name in ['cart', 'mail'] && i <= 3 && s.startsWith('check') && l.exists(x, x == "
                         "2) && !has(o.owner)";
    assert_int_equal(cel_compile(self.environment, bytes_of_text(scalar), NULL, &program, &why), STATUS_OK);
    cel_run run = world_run(&self, NULL);
    assert_int_equal(cel_evaluate(program, &run, &result, &why), STATUS_OK);
    assert_true(result.kind == CEL_BOOL && result.boolean);
    cel_program_free(program);
    assert_int_equal(cel_compile(self.environment, bytes_of_text("s + s"), NULL, &program, &why), STATUS_OK);
    run = world_run(&self, NULL);
    assert_int_equal(cel_evaluate(program, &run, &result, &why), STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(why.reason, "CEL_MEMORY");
    cel_program_free(program);
    world_free(&self);
}

static cel_value by_slot(void *self, uint32_t slot) {
    ++*(uint32_t *)self;
    return slot == 0 ? cel_int(41) : cel_unknown("something else");
}

static void test_variables_by_call(void **state) {
    (void)state;
    world self;
    world_init(&self);
    failure why;
    cel_value result;
    cel_program *program = NULL;
    uint32_t calls = 0;
    assert_int_equal(cel_compile(self.environment, bytes_of_text("i + 1 == 42"), NULL, &program, &why),
                     STATUS_OK);
    assert_true(cel_program_reads(program, 0));
    assert_false(cel_program_reads(program, 1));
    cel_run run = {.get = by_slot, .self = &calls, .count = 6};
    assert_int_equal(cel_evaluate(program, &run, &result, &why), STATUS_OK);
    assert_true(result.kind == CEL_BOOL && result.boolean);
    assert_int_equal(calls, 1);
    cel_program_free(program);
    world_free(&self);
}

typedef struct evaluator {
    const world *host;
    const cel_program *program;
    unsigned wrong;
} evaluator;

static void *evaluate_often(void *argument) {
    evaluator *self = argument;
    arena memory;
    arena_init(&memory, 1024, 1U << 20);
    for (int i = 0; i < 500; i++) {
        failure why;
        cel_value result = cel_null();
        cel_run run = world_run(self->host, &memory);
        if (cel_evaluate(self->program, &run, &result, &why) != STATUS_OK || result.kind != CEL_BOOL ||
            !result.boolean)
            self->wrong++;
        arena_reset(&memory);
    }
    arena_free(&memory);
    return NULL;
}

/* One program, four threads; the program holds an expression of RE2, a time zone and constants. */
static void test_threads(void **state) {
    (void)state;
    world host;
    world_init(&host);
    failure why;
    cel_program *program = NULL;
    const char *text =
        "s.matches('^check') && timestamp('2026-07-01T10:00:00Z').getHours('Europe/Zurich') == 12 && "
        "l.map(x, string(x)).join('-') == '1-2-3' && o.name in ['cart', 'mail']";
    assert_int_equal(cel_compile(host.environment, bytes_of_text(text), NULL, &program, &why), STATUS_OK);
    pthread_t threads[4];
    evaluator workers[4];
    for (int i = 0; i < 4; i++) {
        workers[i] = (evaluator){.host = &host, .program = program};
        assert_int_equal(pthread_create(&threads[i], NULL, evaluate_often, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(workers[i].wrong, 0);
    }
    cel_program_free(program);
    world_free(&host);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),     cmocka_unit_test(test_error_place),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_variables_by_call),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
