/* Random expressions from a printed seed: printing and parsing again gives the same tree, and the compiled
 * program agrees with a tree-walking evaluator. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parser.h"
#include "random_expression.h"
#include "reference.h"

#define EXPRESSIONS 20000U

static uint64_t seed(void) {
    const char *given = getenv("CEL_SEED");
    uint64_t value = given == NULL ? 20261122 : strtoull(given, NULL, 10);
    printf("seed %llu (CEL_SEED)\n", (unsigned long long)value);
    return value;
}

static bool same_tree(const node *left, const node *right) {
    if (left->kind != right->kind || left->count != right->count || left->detail != right->detail ||
        left->member != right->member || left->optional != right->optional ||
        left->absolute != right->absolute || left->names_count != right->names_count ||
        (left->name == NULL) != (right->name == NULL) ||
        (left->name != NULL && strcmp(left->name, right->name) != 0) ||
        (left->kind == NODE_LITERAL && !walk_equal(left->value, right->value)))
        return false;
    for (uint32_t i = 0; i < left->names_count; i++)
        if (strcmp(left->names[i], right->names[i]) != 0)
            return false;
    for (uint32_t i = 0; i < left->count; i++)
        if (!same_tree(left->children[i], right->children[i]))
            return false;
    return true;
}

static void test_print_and_parse(void **state) {
    (void)state;
    writer pen = {0};
    simulated_chance_init(&pen.dice, seed());
    buffer_init(&pen.out, 1U << 20);
    buffer printed;
    buffer_init(&printed, 1U << 20);
    arena memory;
    arena_init(&memory, 1U << 16, 64U << 20);
    for (uint32_t i = 0; i < EXPRESSIONS; i++) {
        node *tree = NULL;
        node *again = NULL;
        failure why;
        write_expression(&pen);
        if (cel_parse(buffer_bytes(&pen.out), CEL_SOURCE_BYTES, &memory, &tree, &why) == STATUS_OK) {
            buffer_clear(&printed);
            cel_print(tree, &printed);
            if (cel_parse(buffer_bytes(&printed), 1U << 20, &memory, &again, &why) != STATUS_OK ||
                !same_tree(tree, again))
                print_error("%s\n%s\n", pen.out.data, printed.data);
            assert_non_null(again);
            assert_true(same_tree(tree, again));
        }
        arena_reset(&memory);
    }
    arena_free(&memory);
    buffer_free(&printed);
    buffer_free(&pen.out);
}

static const char *const NAMES[] = {"i", "b", "s", "l", "m", "u"};

static cel_environment *declare(void) {
    cel_environment *made = cel_environment_new("");
    assert_non_null(made);
    failure why;
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        assert_int_equal(cel_environment_variable(made, NAMES[i], &cel_type_dyn, NULL, &why), STATUS_OK);
    return made;
}

typedef struct tally {
    uint32_t values, errors, unknowns, rejected;
} tally;

static void compare(const cel_environment *environment, bytes source, const cel_value *values, arena *memory,
                    tally *seen) {
    failure why;
    node *tree = NULL;
    cel_program *program = NULL;
    cel_options options = {.unchecked = true};
    if (cel_compile(environment, source, &options, &program, &why) != STATUS_OK) {
        seen->rejected++;
        return;
    }
    assert_int_equal(cel_parse(source, CEL_SOURCE_BYTES, memory, &tree, &why), STATUS_OK);
    reference by_hand = {.memory = memory, .names = NAMES, .values = values, .count = 6};
    cel_value expected = walk(&by_hand, tree, NULL);
    cel_run run = {.values = values, .count = 6, .memory = memory};
    cel_value result;
    assert_int_equal(cel_evaluate(program, &run, &result, &why), STATUS_OK);
    bool same =
        expected.kind == result.kind && (expected.kind >= CEL_UNKNOWN || walk_equal(expected, result));
    if (!same)
        print_error("%.*s\nreference: %s, program: %s %s\n", (int)source.size, (const char *)source.data,
                    cel_kind_name((cel_kind)expected.kind), cel_kind_name((cel_kind)result.kind),
                    result.kind == CEL_ERROR ? result.text : "");
    assert_true(same);
    seen->values += result.kind < CEL_UNKNOWN;
    seen->errors += result.kind == CEL_ERROR;
    seen->unknowns += result.kind == CEL_UNKNOWN;
    cel_program_free(program);
}

static void test_program_and_walk_agree(void **state) {
    (void)state;
    static const cel_value ITEMS[] = {{.kind = CEL_INT, .integer = 4}, {.kind = CEL_INT, .integer = -1}};
    static const cel_list LIST = {.count = 2, .items = ITEMS};
    static const cel_entry ENTRIES[] = {
        {{.kind = CEL_STRING, .size = 1, .text = "a"}, {.kind = CEL_INT, .integer = 5}}};
    static const cel_map MAP = {.count = 1, .entries = ENTRIES};
    const cel_value values[] = {cel_int(3),         cel_bool(true),   cel_text("a", 1),
                                cel_list_of(&LIST), cel_map_of(&MAP), cel_unknown("u")};
    cel_environment *environment = declare();
    writer pen = {0};
    tally seen = {0};
    simulated_chance_init(&pen.dice, seed() + 1);
    buffer_init(&pen.out, 1U << 20);
    arena memory;
    arena_init(&memory, 1U << 16, 64U << 20);
    for (uint32_t i = 0; i < EXPRESSIONS; i++) {
        write_expression(&pen);
        compare(environment, buffer_bytes(&pen.out), values, &memory, &seen);
        arena_reset(&memory);
    }
    printf("%u values, %u errors, %u unknowns, %u rejected\n", seen.values, seen.errors, seen.unknowns,
           seen.rejected);
    assert_true(seen.values > EXPRESSIONS / 10 && seen.errors > EXPRESSIONS / 20 &&
                seen.unknowns > EXPRESSIONS / 100);
    arena_free(&memory);
    buffer_free(&pen.out);
    cel_environment_free(environment);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print_and_parse),
        cmocka_unit_test(test_program_and_walk_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
