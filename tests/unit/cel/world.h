/* A host for the tests: variables of every kind, an object and three functions. */
#ifndef CEL_WORLD_H
#define CEL_WORLD_H

#include <stdlib.h>
#include <string.h>

#include "cel/program.h"

typedef struct world {
    cel_environment *environment;
    cel_value values[7];
} world;

static bool world_field(const void *host, uint32_t index, cel_value *value) {
    (void)host;
    if (index == 2)
        return false;
    *value = index == 0 ? cel_text("cart", 4) : index == 1 ? cel_int(7) : cel_unknown("phase of the moon");
    return true;
}

static const cel_field WORLD_FIELDS[] = {{"name", &cel_type_string},
                                         {"size", &cel_type_int},
                                         {"owner", &cel_type_string},
                                         {"phase", &cel_type_string}};
static const cel_object_type WORLD_TYPE = {
    .name = "Service", .fields = WORLD_FIELDS, .count = 4, .get = world_field};
static const cel_object WORLD_OBJECT = {.type = &WORLD_TYPE};
static const cel_value WORLD_ITEMS[] = {
    {.kind = CEL_INT, .integer = 1}, {.kind = CEL_INT, .integer = 2}, {.kind = CEL_INT, .integer = 3}};
static const cel_list WORLD_LIST = {.count = 3, .items = WORLD_ITEMS};
static const cel_value WORLD_HALF_ITEMS[] = {{.kind = CEL_STRING, .size = 4, .text = "cart"},
                                             {.kind = CEL_UNKNOWN, .size = 10, .text = "the second"}};
static const cel_list WORLD_HALF = {.count = 2, .items = WORLD_HALF_ITEMS};
static const cel_entry WORLD_ENTRIES[] = {
    {{.kind = CEL_STRING, .size = 4, .text = "zone"}, {.kind = CEL_STRING, .size = 4, .text = "prod"}}};
static const cel_map WORLD_MAP = {.count = 1, .entries = WORLD_ENTRIES};

static cel_value world_double(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)count;
    return cel_int(arguments[0].integer * *(const int *)cel_call_self(call));
}

static cel_value world_plus(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)call;
    (void)count;
    return cel_int(arguments[0].integer + arguments[1].integer);
}

static cel_value world_fail(cel_call *call, const cel_value *arguments, uint32_t count) {
    (void)count;
    return arguments[0].integer == 3 ? cel_call_error(call, CEL_HOST_ERROR, "three is not allowed")
                                     : arguments[0];
}

static inline void world_must(status_code code, const failure *why) {
    if (code != STATUS_OK)
        abort();
    (void)why;
}

static inline void world_init(world *self) {
    static int two = 2;
    static const cel_type *const INTS[] = {&cel_type_int, &cel_type_int};
    failure why;
    self->environment = cel_environment_new("");
    if (self->environment == NULL)
        abort();
    arena *memory = cel_environment_arena(self->environment);
    const struct {
        const char *name;
        const cel_type *type;
        cel_value value;
    } variables[] = {
        {"i", &cel_type_int, cel_int(3)},
        {"s", &cel_type_string, cel_text("checkout", 8)},
        {"l", cel_type_list(memory, &cel_type_int), cel_list_of(&WORLD_LIST)},
        {"m", cel_type_map(memory, &cel_type_string, &cel_type_string), cel_map_of(&WORLD_MAP)},
        {"o", cel_type_object(memory, &WORLD_TYPE), cel_object_of(&WORLD_OBJECT)},
        {"u", &cel_type_dyn, cel_unknown("the moon")},
        {"h", cel_type_list(memory, &cel_type_string), cel_list_of(&WORLD_HALF)},
    };
    for (uint32_t i = 0; i < 7; i++) {
        world_must(
            cel_environment_variable(self->environment, variables[i].name, variables[i].type, NULL, &why),
            &why);
        self->values[i] = variables[i].value;
    }
    const cel_overload functions[] = {
        {.name = "double_it",
         .parameters = INTS,
         .count = 1,
         .result = &cel_type_int,
         .run = world_double,
         .self = &two},
        {.name = "plus",
         .member = true,
         .parameters = INTS,
         .count = 2,
         .result = &cel_type_int,
         .run = world_plus},
        {.name = "fail_on", .parameters = INTS, .count = 1, .result = &cel_type_int, .run = world_fail},
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        world_must(cel_environment_function(self->environment, &functions[i], &why), &why);
}

static inline cel_run world_run(const world *self, arena *memory) {
    return (cel_run){.values = self->values, .count = 7, .memory = memory};
}

static inline void world_free(world *self) {
    cel_environment_free(self->environment);
}

#endif
