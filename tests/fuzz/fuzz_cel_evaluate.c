/* Any bytes as a program: checked or not (the first byte chooses), it ends within its cost, and what is free
 * of errors when it is checked yields the same unchecked. */
#include <stdlib.h>

#include "cel/program.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static cel_environment *environment(void) {
    static cel_environment *made;
    failure why;
    if (made != NULL)
        return made;
    made = cel_environment_new("a.b");
    if (made == NULL)
        abort();
    arena *memory = cel_environment_arena(made);
    const struct {
        const char *name;
        const cel_type *type;
    } variables[] = {{"i", &cel_type_int},
                     {"s", &cel_type_string},
                     {"l", cel_type_list(memory, &cel_type_dyn)},
                     {"m", cel_type_map(memory, &cel_type_string, &cel_type_dyn)},
                     {"u", &cel_type_dyn}};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        if (cel_environment_variable(made, variables[i].name, variables[i].type, NULL, &why) != STATUS_OK)
            abort();
    return made;
}

/* The kind of the result, CEL_ERROR also when it does not compile or was stopped. */
static cel_value evaluate(bytes source, bool unchecked, arena *memory) {
    static const cel_value ITEMS[] = {{.kind = CEL_INT, .integer = 1},
                                      {.kind = CEL_STRING, .size = 1, .text = "x"}};
    static const cel_list LIST = {.count = 2, .items = ITEMS};
    static const cel_entry ENTRIES[] = {
        {{.kind = CEL_STRING, .size = 1, .text = "k"}, {.kind = CEL_LIST, .list = &LIST}}};
    static const cel_map MAP = {.count = 1, .entries = ENTRIES};
    const cel_value values[] = {cel_int(7), cel_text("s\xC3\xA9", 3), cel_list_of(&LIST), cel_map_of(&MAP),
                                cel_unknown("u")};
    cel_options options = {.unchecked = unchecked};
    cel_program *program = NULL;
    failure why;
    cel_value result = {.kind = CEL_ERROR, .text = ""};
    if (cel_compile(environment(), source, &options, &program, &why) != STATUS_OK)
        return result;
    cel_run run = {.values = values, .count = 5, .memory = memory, .cost_limit = 20000};
    if (cel_evaluate(program, &run, &result, &why) != STATUS_OK)
        result = (cel_value){.kind = CEL_ERROR, .text = ""};
    cel_kind kind = (cel_kind)result.kind;
    /* What lives with the program is not looked at after it. */
    if (kind > CEL_DOUBLE && kind != CEL_TIMESTAMP && kind != CEL_DURATION)
        result = (cel_value){.kind = result.kind};
    cel_program_free(program);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena memory;
    arena_init(&memory, 4096, 4U << 20);
    cel_value checked = evaluate(bytes_of(data, size), false, &memory);
    cel_value unchecked = evaluate(bytes_of(data, size), true, &memory);
    if (checked.kind < CEL_UNKNOWN &&
        (checked.kind != unchecked.kind ||
         (checked.kind <= CEL_UINT && checked.kind != CEL_NULL && !cel_equal(checked, unchecked))))
        abort();
    arena_free(&memory);
    return 0;
}
