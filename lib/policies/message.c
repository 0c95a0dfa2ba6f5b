/* Message templates: text with {{ expressions }}. */
#include <stdio.h>
#include <string.h>

#include "policies/explain.h"
#include "private.h"

#define MESSAGE_PARTS 16U
#define MESSAGE_RENDERED_BYTES 2048U

static status_code refuse(failure *why, const char *what) {
    return fail(why, STATUS_INVALID_ARGUMENT, "POLICY_INVALID", "%s", what);
}

static const char *copy_of(owned_set *set, const char *text, size_t size) {
    char *copy = arena_alloc(&set->memory, size + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

/* One "text {{ expression }}"; *at moves behind it. */
static status_code compile_part(owned_set *set, const char *text, const char **at, message_part *out,
                                uint32_t *column, failure *why) {
    const char *open = strstr(*at, "{{");
    const char *close = open == NULL ? NULL : strstr(open, "}}");
    size_t before = open == NULL ? strlen(*at) : (size_t)(open - *at);
    out->text = copy_of(set, *at, before);
    if (out->text == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "POLICY_TOO_LARGE", "no memory for the message");
    *at += before;
    if (open == NULL)
        return STATUS_OK;
    *column = (uint32_t)(open + 2 - text);
    if (close == NULL)
        return refuse(why, "{{ has no }}");
    *at = close + 2;
    return set_compile(set, bytes_of(open + 2, (size_t)(close - open - 2)), NULL, &out->program, why);
}

status_code message_compile(owned_set *set, const char *text, const struct policy_message **out,
                            uint32_t *column, failure *why) {
    message_part parts[MESSAGE_PARTS] = {0};
    size_t count = 0;
    const char *at = text;
    status_code code = STATUS_OK;
    do {
        if (count == MESSAGE_PARTS)
            return refuse(why, "has more than 15 expressions");
        code = compile_part(set, text, &at, &parts[count++], column, why);
    } while (code == STATUS_OK && parts[count - 1].program != NULL);
    if (code != STATUS_OK)
        return code;
    struct policy_message *made = arena_alloc(&set->memory, sizeof *made);
    message_part *kept = arena_copy(&set->memory, parts, count * sizeof *parts);
    if (made == NULL || kept == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "POLICY_TOO_LARGE", "no memory for the message");
    *made = (struct policy_message){kept, count};
    *out = made;
    return STATUS_OK;
}

static void render_value(frame *self, const cel_program *program, buffer *out) {
    cel_run run = {.values = self->values,
                   .count = SLOT_COUNT,
                   .memory = self->memory,
                   .cost_limit = POLICIES_RULE_COST};
    cel_value value;
    if (cel_evaluate(program, &run, &value, NULL) != STATUS_OK || value.kind == CEL_ERROR)
        buffer_text(out, "(error)");
    else if (value.kind == CEL_UNKNOWN)
        buffer_text(out, "(unknown)");
    else if (value.kind == CEL_STRING)
        buffer_append(out, value.text, value.size);
    else
        policy_value_print(value, out);
}

const char *policies_message(const policy_rule *rule, const policy_set *set, const policy_facts *facts,
                             arena *memory) {
    if (rule->parts == NULL)
        return "";
    if (rule->parts->count == 1 && rule->parts->parts[0].program == NULL)
        return rule->parts->parts[0].text;
    frame *view = arena_alloc(memory, sizeof *view);
    char *room = arena_alloc(memory, MESSAGE_RENDERED_BYTES);
    if (view == NULL || room == NULL)
        return NULL;
    frame_init(view, set, facts, memory);
    buffer text;
    buffer_init(&text, MESSAGE_RENDERED_BYTES - 1);
    for (size_t i = 0; i < rule->parts->count; i++) {
        buffer_text(&text, rule->parts->parts[i].text);
        if (rule->parts->parts[i].program != NULL)
            render_value(view, rule->parts->parts[i].program, &text);
    }
    (void)snprintf(room, MESSAGE_RENDERED_BYTES, "%s", text.data == NULL ? "" : text.data);
    buffer_free(&text);
    return room;
}
