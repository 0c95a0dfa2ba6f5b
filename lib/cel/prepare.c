/* Work done once for constant arguments. */
#include "prepare.h"

#include <string.h>

#include "regex.h"
#include "text.h"
#include "zone.h"

/* A regular expression is RE2's; a zone lives in the program's arena. Both are told apart by who asks for
 * them: matches() is the only function whose prepared argument has `expression`. */
typedef struct pattern {
    regex *expression;
} pattern;

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

bool prepare_is_regex(const node *call) {
    return call->overload_count > 0 && strcmp(call->name, "matches") == 0 &&
           is_standard(call, &library_strings);
}

void *prepare_call(arena *memory, const node *call) {
    const cel_value *argument = literal_argument(call);
    if (argument == NULL || call->overload_count == 0)
        return NULL;
    if (prepare_is_regex(call) && argument->size <= CEL_PATTERN_BYTES) {
        pattern *made = arena_zero(memory, 1, sizeof *made);
        regex *expression = made == NULL ? NULL : regex_compile(argument->text, argument->size);
        if (expression == NULL)
            return NULL;
        made->expression = expression;
        return made;
    }
    if (call->member && strncmp(call->name, "get", 3) == 0 && is_standard(call, &library_time))
        return (void *)(uintptr_t)zone_load(text_bytes(*argument), memory);
    return NULL;
}

void prepare_free(void *prepared) {
    if (prepared != NULL)
        regex_free(((pattern *)prepared)->expression);
}

bool prepared_search(const void *prepared, cel_value text) {
    return regex_search(((const pattern *)prepared)->expression, text.text, text.size);
}
