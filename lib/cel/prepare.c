/* Work done once for constant arguments. */
#include "prepare.h"

#include <string.h>

#include "regex.h"
#include "text.h"
#include "zone.h"

struct kept_regex {
    kept_regex *next;
    regex *expression;
};

static const cel_value *literal_argument(const node *call) {
    const node *last = call->count == 0 ? NULL : call->children[call->count - 1];
    return call->count == 2 && last->kind == NODE_LITERAL && last->value.kind == CEL_STRING ? &last->value
                                                                                            : NULL;
}

static bool is_standard(const node *call, const library *owner) {
    for (uint32_t i = 0; i < owner->count; i++)
        if (owner->rows[i].run == call->overloads[0]->run)
            return true;
    return false;
}

static void *prepare_regex(cel_program *program, cel_value text) {
    kept_regex *made = arena_zero(&program->memory, 1, sizeof *made);
    if (made == NULL)
        return NULL;
    made->expression = regex_compile(text.text, text.size);
    if (made->expression == NULL)
        return NULL;
    made->next = program->patterns;
    program->patterns = made;
    return made;
}

void *prepare_call(cel_program *program, const node *call) {
    const cel_value *argument = literal_argument(call);
    if (argument == NULL || call->overload_count == 0)
        return NULL;
    if (strcmp(call->name, "matches") == 0 && is_standard(call, &library_strings))
        return argument->size <= CEL_PATTERN_BYTES ? prepare_regex(program, *argument) : NULL;
    if (call->member && strncmp(call->name, "get", 3) == 0 && is_standard(call, &library_time))
        return (void *)(uintptr_t)zone_load(text_bytes(*argument), &program->memory);
    return NULL;
}

void prepare_free(kept_regex *patterns) {
    for (; patterns != NULL; patterns = patterns->next)
        regex_free(patterns->expression);
}

bool prepared_search(const void *prepared, cel_value text) {
    return regex_search(((const kept_regex *)prepared)->expression, text.text, text.size);
}
