/* Runs conformance cases of CEL: a JSON object a line on standard input (tests/support/cel_cases.py makes
 * them of the official text-format files), one {"number", "ok", "why"} a line on standard output. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "cel/program.h"
#include "load.h"

#define LINE_BYTES (4U << 20)
#define VARIABLES 64U

static arena memory; /* of one case */

static void *need(void *found) {
    if (found == NULL)
        give_up("no memory");
    return found;
}

/* Texts are {"hex": …}. */
static bytes text_of(const json_t *value) {
    const char *digits = json_string_value(json_object_get(value, "hex"));
    if (digits == NULL)
        return bytes_of("", 0);
    size_t size = strlen(digits) / 2;
    uint8_t *out = need(arena_alloc(&memory, size + 1));
    if (!hex_decode(digits, out, size))
        give_up("bad hex");
    out[size] = 0;
    return bytes_of(out, size);
}

static const char *name_of(const json_t *value) {
    return (const char *)text_of(value).data;
}

static bool flag(const json_t *object, const char *name) {
    const char *value = json_string_value(json_object_get(object, name));
    return value != NULL && strcmp(value, "true") == 0;
}

static int64_t number(const json_t *object, const char *name) {
    const char *value = json_string_value(json_object_get(object, name));
    return value == NULL ? 0 : strtoll(value, NULL, 0);
}

/* ---- Values
 * ---------------------------------------------------------------------------------------------------- */

static cel_value value_of(const json_t *object);

static cel_value list_value(const json_t *object) {
    const json_t *items = json_object_get(object, "values");
    size_t count = json_array_size(items);
    cel_value *values = need(arena_alloc(&memory, (count + 1) * sizeof *values));
    cel_list *list = need(arena_alloc(&memory, sizeof *list));
    for (size_t i = 0; i < count; i++)
        values[i] = value_of(json_array_get(items, i));
    *list = (cel_list){.count = (uint32_t)count, .items = values};
    return cel_list_of(list);
}

static cel_value map_value(const json_t *object) {
    const json_t *items = json_object_get(object, "entries");
    size_t count = json_array_size(items);
    cel_entry *entries = need(arena_alloc(&memory, (count + 1) * sizeof *entries));
    cel_map *map = need(arena_alloc(&memory, sizeof *map));
    for (size_t i = 0; i < count; i++)
        entries[i] = (cel_entry){value_of(json_object_get(json_array_get(items, i), "key")),
                                 value_of(json_object_get(json_array_get(items, i), "value"))};
    *map = (cel_map){.count = (uint32_t)count, .entries = entries};
    return cel_map_of(map);
}

/* The messages of google.protobuf that are plain values. */
static cel_value message_value(const json_t *object) {
    const json_t *fields = json_object_get(object, "[type.googleapis.com/google.protobuf.Timestamp]");
    if (fields != NULL)
        return cel_timestamp(number(fields, "seconds"), (uint32_t)number(fields, "nanos"));
    fields = json_object_get(object, "[type.googleapis.com/google.protobuf.Duration]");
    if (fields != NULL)
        return cel_duration(number(fields, "seconds") * 1000000000 + number(fields, "nanos"));
    return (cel_value){.kind = CEL_OPAQUE};
}

static cel_value double_value(const char *text) {
    return cel_double(strtod(text, NULL));
}

static cel_value value_of(const json_t *object) {
    const json_t *found = NULL;
    const char *text = NULL;
    if ((found = json_object_get(object, "int64_value")) != NULL)
        return cel_int(strtoll(json_string_value(found), NULL, 0));
    if ((found = json_object_get(object, "uint64_value")) != NULL)
        return cel_uint(strtoull(json_string_value(found), NULL, 0));
    if ((found = json_object_get(object, "double_value")) != NULL)
        return double_value(json_string_value(found));
    if (json_object_get(object, "bool_value") != NULL)
        return cel_bool(flag(object, "bool_value"));
    if ((found = json_object_get(object, "string_value")) != NULL)
        return cel_text((const char *)text_of(found).data, text_of(found).size);
    if ((found = json_object_get(object, "bytes_value")) != NULL)
        return cel_octets(text_of(found).data, text_of(found).size);
    if ((found = json_object_get(object, "list_value")) != NULL)
        return list_value(found);
    if ((found = json_object_get(object, "map_value")) != NULL)
        return map_value(found);
    if ((found = json_object_get(object, "object_value")) != NULL)
        return message_value(found);
    if ((found = json_object_get(object, "type_value")) != NULL) {
        text = name_of(found);
        return (cel_value){.kind = CEL_TYPE, .size = (uint32_t)strlen(text), .text = text};
    }
    return cel_null();
}

/* Stricter than CEL's equality: 1 is not 1u, and NaN is NaN. */
static bool identical(cel_value left, cel_value right) {
    if (left.kind != right.kind)
        return false;
    if (left.kind == CEL_DOUBLE)
        return (isnan(left.real) && isnan(right.real)) || left.real == right.real;
    if (left.kind == CEL_LIST) {
        bool same = left.list->count == right.list->count;
        for (uint32_t i = 0; same && i < left.list->count; i++)
            same = identical(cel_list_at(left.list, i), cel_list_at(right.list, i));
        return same;
    }
    if (left.kind != CEL_MAP)
        return cel_equal(left, right);
    bool same = left.map->count == right.map->count;
    for (uint32_t i = 0; same && i < left.map->count; i++) {
        cel_entry entry = cel_map_at(left.map, i);
        cel_value other;
        same = cel_map_find(right.map, entry.key, &other) && identical(entry.value, other);
    }
    return same;
}

/* ---- Types
 * ----------------------------------------------------------------------------------------------------- */

static const cel_type *primitive(const char *name) {
    static const struct {
        const char *name;
        const cel_type *type;
    } NAMES[] = {{"BOOL", &cel_type_bool},           {"INT64", &cel_type_int},
                 {"UINT64", &cel_type_uint},         {"DOUBLE", &cel_type_double},
                 {"STRING", &cel_type_string},       {"BYTES", &cel_type_bytes},
                 {"TIMESTAMP", &cel_type_timestamp}, {"DURATION", &cel_type_duration}};
    for (size_t i = 0; name != NULL && i < sizeof NAMES / sizeof *NAMES; i++)
        if (strcmp(NAMES[i].name, name) == 0)
            return NAMES[i].type;
    return &cel_type_dyn;
}

static const cel_type *type_of(const json_t *object);

static const cel_type *abstract(const json_t *object) {
    const json_t *items = json_object_get(object, "parameter_types");
    const cel_type *parameters[CEL_TYPE_PARAMETERS];
    size_t count = json_array_size(items);
    for (size_t i = 0; i < count && i < CEL_TYPE_PARAMETERS; i++)
        parameters[i] = type_of(json_array_get(items, i));
    return need((void *)(uintptr_t)cel_type_opaque(&memory, name_of(json_object_get(object, "name")),
                                                   parameters, (uint32_t)count));
}

static const cel_type *type_of(const json_t *object) {
    const json_t *found = NULL;
    const cel_type *type = &cel_type_dyn;
    if ((found = json_object_get(object, "primitive")) != NULL ||
        (found = json_object_get(object, "well_known")) != NULL)
        return primitive(json_string_value(found));
    if ((found = json_object_get(object, "wrapper")) != NULL)
        type = cel_type_wrapper(&memory, primitive(json_string_value(found)));
    else if (json_object_get(object, "null") != NULL)
        return &cel_type_null;
    else if ((found = json_object_get(object, "list_type")) != NULL)
        type = cel_type_list(&memory, type_of(json_object_get(found, "elem_type")));
    else if ((found = json_object_get(object, "map_type")) != NULL)
        type = cel_type_map(&memory, type_of(json_object_get(found, "key_type")),
                            type_of(json_object_get(found, "value_type")));
    else if ((found = json_object_get(object, "type")) != NULL)
        type = cel_type_of(&memory, type_of(found));
    else if ((found = json_object_get(object, "type_param")) != NULL)
        type = cel_type_parameter(&memory, name_of(found));
    else if ((found = json_object_get(object, "abstract_type")) != NULL)
        type = abstract(found);
    else if ((found = json_object_get(object, "message_type")) != NULL &&
             strcmp(name_of(found), "google.protobuf.Timestamp") == 0)
        return &cel_type_timestamp;
    else if (found != NULL && strcmp(name_of(found), "google.protobuf.Duration") == 0)
        return &cel_type_duration;
    return need((void *)(uintptr_t)type);
}

/* ---- Cases
 * ----------------------------------------------------------------------------------------------------- */

typedef struct trial {
    cel_environment *environment;
    cel_program *program;
    cel_value values[VARIABLES];
    uint32_t count;
    const char *names[VARIABLES];
    failure why;
    bool refused; /* a declaration */
} trial;

/* The slot of a variable, declared when it is new. */
static uint32_t slot_of(trial *self, const char *name, const cel_type *type) {
    uint32_t slot = 0;
    for (; slot < self->count; slot++)
        if (strcmp(self->names[slot], name) == 0)
            return slot;
    if (slot == VARIABLES ||
        cel_environment_variable(self->environment, name, type, &slot, &self->why) != STATUS_OK) {
        self->refused = true;
        return 0;
    }
    self->names[self->count++] = name;
    return slot;
}

static void declare_functions(trial *self, const char *name, const json_t *overloads) {
    size_t index;
    json_t *each;
    json_array_foreach((json_t *)(uintptr_t)overloads, index, each) {
        const json_t *items = json_object_get(each, "params");
        const cel_type *parameters[CEL_OVERLOAD_PARAMETERS];
        size_t count = json_array_size(items);
        for (size_t i = 0; i < count && i < CEL_OVERLOAD_PARAMETERS; i++)
            parameters[i] = type_of(json_array_get(items, i));
        cel_overload made = {.name = name,
                             .member = flag(each, "is_instance_function"),
                             .parameters = parameters,
                             .count = (uint32_t)count,
                             .result = type_of(json_object_get(each, "result_type"))};
        self->refused |= cel_environment_function(self->environment, &made, &self->why) != STATUS_OK;
    }
}

static void declare(trial *self, const json_t *item) {
    size_t index;
    json_t *each;
    json_array_foreach(json_object_get(item, "type_env"), index, each) {
        const char *name = name_of(json_object_get(each, "name"));
        const json_t *function = json_object_get(each, "function");
        if (function != NULL)
            declare_functions(self, name, json_object_get(function, "overloads"));
        else
            slot_of(self, name, type_of(json_object_get(json_object_get(each, "ident"), "type")));
    }
}

/* A variable that is bound but not declared is dyn. */
static void bind(trial *self, const json_t *item) {
    size_t index;
    json_t *each;
    for (uint32_t i = 0; i < VARIABLES; i++)
        self->values[i] =
            (cel_value){.kind = CEL_ERROR, .reason = CEL_NO_SUCH_NAME, .text = "the variable is not bound"};
    json_array_foreach(json_object_get(item, "bindings"), index, each) {
        const char *name = name_of(json_object_get(each, "key"));
        self->values[slot_of(self, name, &cel_type_dyn)] =
            value_of(json_object_get(json_object_get(each, "value"), "value"));
    }
}

static bool type_matches(const cel_type *type, const json_t *expected, char *why, size_t room) {
    if (expected == NULL || cel_type_equal(type, type_of(expected)))
        return true;
    buffer text;
    buffer_init(&text, 4096);
    cel_type_print(type, &text);
    snprintf(why, room, "deduced %s", text.data);
    buffer_free(&text);
    return false;
}

static bool value_matches(trial *self, const json_t *expected, bool error_expected, char *why, size_t room) {
    cel_run run = {.values = self->values, .count = self->count, .memory = &memory};
    cel_value result;
    if (cel_evaluate(self->program, &run, &result, &self->why) != STATUS_OK) {
        snprintf(why, room, "stopped: %s", self->why.message);
        return false;
    }
    if (result.kind == CEL_ERROR) {
        snprintf(why, room, "error: %s", result.text);
        return error_expected;
    }
    cel_value wanted = expected == NULL ? cel_bool(true) : value_of(expected);
    snprintf(why, room, "yields %s%.*s", cel_kind_name((cel_kind)result.kind),
             result.kind == CEL_STRING ? (int)result.size : 0, result.kind == CEL_STRING ? result.text : "");
    return !error_expected && identical(result, wanted);
}

static bool run_case(trial *self, const json_t *item, char *why, size_t room) {
    const json_t *typed = json_object_get(item, "typed_result");
    const json_t *expected =
        typed != NULL ? json_object_get(typed, "result") : json_object_get(item, "value");
    bool error_expected =
        json_object_get(item, "eval_error") != NULL || json_object_get(item, "any_eval_errors") != NULL;
    cel_options options = {.unchecked = flag(item, "disable_check")};
    bool check_only = flag(item, "check_only");
    const char *container =
        json_object_get(item, "container") == NULL ? "" : name_of(json_object_get(item, "container"));
    self->environment = need(cel_environment_new(container));
    declare(self, item);
    bind(self, item);
    if (self->refused) {
        snprintf(why, room, "declaration: %s", self->why.message);
        return false;
    }
    if (cel_compile(self->environment, text_of(json_object_get(item, "expr")), &options, &self->program,
                    &self->why) != STATUS_OK) {
        snprintf(why, room, "compile: %s", self->why.message);
        return error_expected;
    }
    if (typed != NULL &&
        !type_matches(cel_program_type(self->program), json_object_get(typed, "deduced_type"), why, room))
        return false;
    return check_only || value_matches(self, expected, error_expected, why, room);
}

static void report(const json_t *item) {
    static trial self;
    char why[600] = "";
    memset(&self, 0, sizeof self);
    bool ok = run_case(&self, item, why, sizeof why);
    const char *shown = utf8_valid(bytes_of_text(why)) ? why : "?";
    json_t *line = json_pack("{s:I,s:b,s:s}", "number", json_integer_value(json_object_get(item, "number")),
                             "ok", ok, "why", shown);
    if (line == NULL)
        give_up("no memory");
    json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(line);
    cel_program_free(self.program);
    cel_environment_free(self.environment);
    arena_reset(&memory);
}

int main(void) {
    static char line[LINE_BYTES];
    arena_init(&memory, 1U << 16, 64U << 20);
    while (fgets(line, sizeof line, stdin) != NULL) {
        json_error_t wrong;
        json_t *item = json_loads(line, 0, &wrong);
        if (item == NULL)
            give_up(wrong.text);
        report(item);
        json_decref(item);
    }
    arena_free(&memory);
    return 0;
}
