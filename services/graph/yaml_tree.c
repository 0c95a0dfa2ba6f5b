/* A tree from libyaml's events. Only events are used: its own documents would follow aliases. */
#include "yaml_tree.h"

#include <string.h>
#include <yaml.h>

typedef struct yaml_reader {
    yaml_parser_t parser;
    const char *file;
    arena *memory;
    failure *why;
    size_t items;
} yaml_reader;

static status_code refuse(const yaml_reader *self, yaml_mark_t at, const char *what) {
    return fail(self->why, STATUS_INVALID_ARGUMENT, "BAD_YAML", "%.200s:%zu:%zu: %s", self->file, at.line + 1,
                at.column + 1, what);
}

static status_code next_event(yaml_reader *self, yaml_event_t *out) {
    if (yaml_parser_parse(&self->parser, out) == 1)
        return STATUS_OK;
    yaml_mark_t at = self->parser.problem_mark;
    if (self->parser.error == YAML_MEMORY_ERROR)
        return fail(self->why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to read %.200s",
                    self->file);
    return refuse(self, at, self->parser.problem != NULL ? self->parser.problem : "this is not YAML");
}

static status_code item_make(yaml_reader *self, yaml_kind kind, yaml_mark_t at, yaml_item **out) {
    if (++self->items > YAML_TREE_ITEMS)
        return refuse(self, at, "the document has too many items");
    yaml_item *made = arena_zero(self->memory, 1, sizeof *made);
    if (made == NULL)
        return fail(self->why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to read %.200s",
                    self->file);
    made->kind = kind;
    made->line = at.line + 1;
    made->column = at.column + 1;
    *out = made;
    return STATUS_OK;
}

static status_code scalar_make(yaml_reader *self, const yaml_event_t *event, yaml_item **out) {
    const char *value = (const char *)event->data.scalar.value;
    size_t size = event->data.scalar.length;
    if (event->data.scalar.anchor != NULL)
        return refuse(self, event->start_mark, "anchors are not taken; write it out");
    if (event->data.scalar.tag != NULL)
        return refuse(self, event->start_mark, "tags are not taken");
    if (strlen(value) != size)
        return refuse(self, event->start_mark, "a NUL inside a text");
    status_code code = item_make(self, YAML_SCALAR, event->start_mark, out);
    if (code != STATUS_OK)
        return code;
    (*out)->text = arena_text(self->memory, value);
    (*out)->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if ((*out)->text == NULL)
        return fail(self->why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to read %.200s",
                    self->file);
    return STATUS_OK;
}

static void item_append(yaml_item *parent, yaml_item *child) {
    if (parent->last == NULL)
        parent->first = child;
    else
        parent->last->next = child;
    parent->last = child;
    parent->count++;
}

static status_code read_value(yaml_reader *self, const yaml_event_t *event, size_t depth, yaml_item **out);

static status_code read_list(yaml_reader *self, size_t depth, yaml_item *list) {
    for (;;) {
        yaml_event_t event;
        yaml_item *child = NULL;
        status_code code = next_event(self, &event);
        if (code != STATUS_OK)
            return code;
        bool end = event.type == YAML_SEQUENCE_END_EVENT;
        if (!end)
            code = read_value(self, &event, depth, &child);
        yaml_event_delete(&event);
        if (code != STATUS_OK || end)
            return code;
        item_append(list, child);
    }
}

static status_code read_key(yaml_reader *self, const yaml_event_t *event, const yaml_item *mapping,
                            yaml_item **out) {
    if (event->type == YAML_ALIAS_EVENT)
        return refuse(self, event->start_mark, "aliases are not taken; write it out");
    if (event->type != YAML_SCALAR_EVENT)
        return refuse(self, event->start_mark, "a key is a word here");
    if (mapping->count >= YAML_TREE_MEMBERS)
        return refuse(self, event->start_mark, "too many keys in one mapping");
    status_code code = scalar_make(self, event, out);
    if (code == STATUS_OK && strcmp((*out)->text, "<<") == 0)
        code = refuse(self, event->start_mark, "merge keys are not taken; write it out");
    if (code == STATUS_OK && yaml_member(mapping, (*out)->text) != NULL)
        code = refuse(self, event->start_mark, "this key stands here twice");
    return code;
}

static status_code read_member(yaml_reader *self, const yaml_event_t *event, size_t depth,
                               yaml_item *mapping) {
    yaml_event_t value;
    yaml_item *key = NULL;
    yaml_item *child = NULL;
    status_code code = read_key(self, event, mapping, &key);
    if (code == STATUS_OK)
        code = next_event(self, &value);
    if (code != STATUS_OK)
        return code;
    code = read_value(self, &value, depth, &child);
    yaml_event_delete(&value);
    if (code != STATUS_OK)
        return code;
    child->key = key->text;
    child->key_line = key->line;
    child->key_column = key->column;
    item_append(mapping, child);
    return STATUS_OK;
}

static status_code read_mapping(yaml_reader *self, size_t depth, yaml_item *mapping) {
    for (;;) {
        yaml_event_t event;
        status_code code = next_event(self, &event);
        if (code != STATUS_OK)
            return code;
        bool end = event.type == YAML_MAPPING_END_EVENT;
        if (!end)
            code = read_member(self, &event, depth, mapping);
        yaml_event_delete(&event);
        if (code != STATUS_OK || end)
            return code;
    }
}

/* `depth` is that of what surrounds the value. */
static status_code read_value(yaml_reader *self, const yaml_event_t *event, size_t depth, yaml_item **out) {
    bool list = event->type == YAML_SEQUENCE_START_EVENT;
    if (event->type == YAML_SCALAR_EVENT)
        return scalar_make(self, event, out);
    if (event->type == YAML_ALIAS_EVENT)
        return refuse(self, event->start_mark, "aliases are not taken; write it out");
    const yaml_char_t *anchor = list ? event->data.sequence_start.anchor : event->data.mapping_start.anchor;
    const yaml_char_t *tag = list ? event->data.sequence_start.tag : event->data.mapping_start.tag;
    if (anchor != NULL || tag != NULL)
        return refuse(self, event->start_mark,
                      anchor != NULL ? "anchors are not taken; write it out" : "tags are not taken");
    if (depth >= YAML_TREE_DEPTH)
        return refuse(self, event->start_mark, "nested too deep");
    status_code code = item_make(self, list ? YAML_LIST : YAML_MAPPING, event->start_mark, out);
    if (code != STATUS_OK)
        return code;
    return list ? read_list(self, depth + 1, *out) : read_mapping(self, depth + 1, *out);
}

/* The next event must be of this type. */
static status_code expect(yaml_reader *self, yaml_event_type_t type, const char *otherwise) {
    yaml_event_t event;
    status_code code = next_event(self, &event);
    if (code != STATUS_OK)
        return code;
    if (event.type != type)
        code = refuse(self, event.start_mark, otherwise);
    yaml_event_delete(&event);
    return code;
}

static status_code read_document(yaml_reader *self, yaml_item **out) {
    yaml_event_t event;
    status_code code = expect(self, YAML_STREAM_START_EVENT, "this is not YAML");
    if (code == STATUS_OK)
        code = expect(self, YAML_DOCUMENT_START_EVENT, "the document is empty");
    if (code == STATUS_OK)
        code = next_event(self, &event);
    if (code != STATUS_OK)
        return code;
    code = read_value(self, &event, 0, out);
    yaml_event_delete(&event);
    if (code == STATUS_OK)
        code = expect(self, YAML_DOCUMENT_END_EVENT, "this is not YAML");
    if (code == STATUS_OK)
        code = expect(self, YAML_STREAM_END_EVENT, "one document a file");
    return code;
}

status_code yaml_tree_read(bytes text, const char *file, arena *memory, const yaml_item **out, failure *why) {
    yaml_reader self = {.file = file, .memory = memory, .why = why};
    yaml_item *root = NULL;
    if (text.size > YAML_TREE_BYTES)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_YAML", "%.200s:1:1: longer than %u bytes", file,
                    YAML_TREE_BYTES);
    if (yaml_parser_initialize(&self.parser) != 1)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to read %.200s", file);
    yaml_parser_set_encoding(&self.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&self.parser, text.data, text.size);
    status_code code = read_document(&self, &root);
    yaml_parser_delete(&self.parser);
    if (code == STATUS_OK)
        *out = root;
    return code;
}

const yaml_item *yaml_member(const yaml_item *mapping, const char *key) {
    if (mapping == NULL || mapping->kind != YAML_MAPPING)
        return NULL;
    for (const yaml_item *child = mapping->first; child != NULL; child = child->next)
        if (strcmp(child->key, key) == 0)
            return child;
    return NULL;
}
