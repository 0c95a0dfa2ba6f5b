/* Why a decision came out as it did. The values that a condition reads are found in its text: names that
 * begin with a fact's, as far as they select fields; each is compiled and evaluated on its own. */
#include "policies/explain.h"

#include <string.h>

#include "private.h"

#define VALUES_MAX 32U
#define VALUE_BYTES 400U

/* ---- what a condition names ---- */

static bool is_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_part(char c) {
    return is_start(c) || (c >= '0' && c <= '9');
}

/* Behind a quoted text that begins at `at`. */
static const char *skip_text(const char *at) {
    char quote = *at;
    for (at++; *at != '\0' && *at != quote; at++)
        if (*at == '\\' && at[1] != '\0')
            at++;
    return *at == '\0' ? at : at + 1;
}

static bool is_root(const char *name, size_t size) {
    for (size_t i = 0; i < SLOT_COUNT; i++)
        if (strlen(environment_roots[i]) == size && memcmp(environment_roots[i], name, size) == 0)
            return true;
    return false;
}

/* The end of "a.b.c" from its beginning; a last part that is called does not belong to it. */
static const char *path_end(const char *at) {
    while (is_part(*at))
        at++;
    while (*at == '.' && is_start(at[1])) {
        const char *end = at + 1;
        while (is_part(*end))
            end++;
        if (*end == '(')
            break;
        at = end;
    }
    return at;
}

/* The next path at or behind *at, which moves behind it; NULL at the end. */
static const char *next_path(const char **at, size_t *size) {
    const char *text = *at;
    while (*text != '\0') {
        if (*text == '"' || *text == '\'') {
            text = skip_text(text);
        } else if (is_start(*text)) {
            const char *begin = text, *end = text;
            while (is_part(*end))
                end++;
            if (is_root(begin, (size_t)(end - begin))) {
                *at = path_end(begin);
                *size = (size_t)(*at - begin);
                return begin;
            }
            text = end;
            while (*text == '.' && is_start(text[1])) /* a field of something else */
                for (text++; is_part(*text);)
                    text++;
        } else {
            text++;
        }
    }
    *at = text;
    return NULL;
}

/* ---- their values ---- */

static char *printed(cel_value value, arena *memory) {
    buffer text;
    buffer_init(&text, VALUE_BYTES);
    policy_value_print(value, &text);
    char *copy = arena_text(memory, buffer_ok(&text) && text.data != NULL ? text.data : "(too long to show)");
    buffer_free(&text);
    return copy;
}

static bool read_value(frame *view, const cel_environment *environment, const char *path, policy_value *out) {
    cel_program *program = NULL;
    if (cel_compile(environment, bytes_of_text(path), NULL, &program, NULL) != STATUS_OK)
        return false;
    cel_run run = {.values = view->values, .count = SLOT_COUNT, .memory = view->memory};
    cel_value value;
    bool read = cel_evaluate(program, &run, &value, NULL) == STATUS_OK;
    if (read) {
        out->path = path;
        out->unknown = value.kind == CEL_UNKNOWN;
        out->value = value.kind == CEL_UNKNOWN ? "unknown"
                     : value.kind == CEL_ERROR ? "absent"
                                               : printed(value, view->memory);
        read = out->value != NULL;
    }
    cel_program_free(program);
    return read;
}

static bool known_path(const policy_value *values, size_t count, const char *path) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(values[i].path, path) == 0)
            return true;
    return false;
}

/* False without memory. */
static bool read_values(frame *view, const cel_environment *environment, const char *condition,
                        policy_step *out) {
    policy_value *values = arena_zero(view->memory, VALUES_MAX, sizeof *values);
    const char *at = condition;
    const char *begin;
    size_t size, count = 0;
    while (values != NULL && count < VALUES_MAX && (begin = next_path(&at, &size)) != NULL) {
        char *path = arena_alloc(view->memory, size + 1);
        if (path == NULL)
            return false;
        memcpy(path, begin, size);
        path[size] = '\0';
        if (!known_path(values, count, path) && read_value(view, environment, path, &values[count]))
            count++;
    }
    out->values = values;
    out->value_count = count;
    return values != NULL;
}

/* ---- the explanation ---- */

static status_code no_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "POLICY_MEMORY",
                "no memory left for explaining the decision");
}

static bool explain_rule(frame *view, const policy_set *set, const policy_rule *rule, policy_step *out) {
    policy_result sums = {0};
    *out = (policy_step){.finding = rule_stand(view, rule, false, &sums), .message = ""};
    if (out->finding.state == POLICY_NO_MATCH)
        return true;
    if (rule->program != NULL && !read_values(view, owned(set)->environment, rule->condition, out))
        return false;
    if (out->finding.state == POLICY_HOLDS)
        out->message = policies_message(rule, set, view->facts, view->memory);
    return out->message != NULL;
}

status_code policies_explain(const policy_set *set, const policy_facts *facts, arena *memory,
                             policy_explanation *out, failure *why) {
    policy_explanation made = {.step_count = set->rule_count};
    status_code code = policies_evaluate(set, facts, memory, &made.result, why);
    if (code != STATUS_OK)
        return code;
    policy_step *steps = arena_zero(memory, set->rule_count + 1, sizeof *steps);
    frame *view = arena_alloc(memory, sizeof *view);
    if (steps == NULL || view == NULL)
        return no_memory(why);
    frame_init(view, set, facts, memory);
    for (size_t i = 0; i < set->rule_count; i++)
        if (!explain_rule(view, set, &set->rules[i], &steps[i]))
            return no_memory(why);
    made.steps = steps;
    *out = made;
    return STATUS_OK;
}

/* ---- one expression ---- */

static char *type_text(const cel_program *program, arena *memory) {
    buffer text;
    buffer_init(&text, VALUE_BYTES);
    cel_type_print(cel_program_type(program), &text);
    char *copy = arena_text(memory, text.data == NULL ? "" : text.data);
    buffer_free(&text);
    return copy;
}

static status_code run_expression(const policy_set *set, const cel_program *program,
                                  const policy_facts *facts, arena *memory, const char **value,
                                  failure *why) {
    frame *view = arena_alloc(memory, sizeof *view);
    if (view == NULL)
        return no_memory(why);
    frame_init(view, set, facts, memory);
    cel_run run = {.values = view->values, .count = SLOT_COUNT, .memory = memory};
    cel_value result;
    status_code code = cel_evaluate(program, &run, &result, why);
    if (code != STATUS_OK)
        return code;
    if (result.kind == CEL_ERROR)
        return cel_error_describe(program, result, why);
    *value = printed(result, memory);
    return *value == NULL ? no_memory(why) : STATUS_OK;
}

status_code policies_try(const policy_set *set, bytes expression, const policy_facts *facts, arena *memory,
                         const char **type, const char **value, failure *why) {
    cel_program *program = NULL;
    cel_environment *own = set == NULL ? environment_new(why) : NULL;
    const cel_environment *environment = set == NULL ? own : owned(set)->environment;
    const cel_options options = {.source_bytes = POLICIES_CONDITION_BYTES};
    status_code code = environment == NULL ? STATUS_RESOURCE_EXHAUSTED
                                           : cel_compile(environment, expression, &options, &program, why);
    if (code == STATUS_OK) {
        *type = type_text(program, memory);
        code = *type == NULL ? no_memory(why) : run_expression(set, program, facts, memory, value, why);
    }
    cel_program_free(program);
    cel_environment_free(own);
    return code;
}
