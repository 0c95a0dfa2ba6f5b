/* libyaml's events made into nodes. One pass, so that a large file is read once. */
#include "yaml/read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct yaml_reader {
    yaml_parser_t parser;
    yaml_limits limits;
};

/* The mapping or list that is being read. */
typedef struct level {
    yaml_item *node;
    yaml_item *last;
    yaml_item *key; /* a mapping's key whose value is still to come */
} level;

typedef struct builder {
    yaml_reader *reader;
    arena *memory;
    yaml_problem *problem;
    level levels[YAML_DEPTH_MAX];
    uint32_t depth;
    yaml_item *root;
} builder;

yaml_reader *yaml_reader_new(bytes text, yaml_limits limits) {
    yaml_reader *self = calloc(1, sizeof *self);
    if (self == NULL || yaml_parser_initialize(&self->parser) != 1) {
        free(self);
        return NULL;
    }
    self->limits = limits;
    if (self->limits.depth > YAML_DEPTH_MAX)
        self->limits.depth = YAML_DEPTH_MAX;
    /* Editors of some systems begin a file with a byte order mark, which says nothing in UTF-8. */
    if (text.size >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0)
        text = bytes_of(text.data + 3, text.size - 3);
    yaml_parser_set_encoding(&self->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&self->parser, text.size == 0 ? (const uint8_t *)"" : text.data, text.size);
    return self;
}

void yaml_reader_free(yaml_reader *self) {
    if (self == NULL)
        return;
    yaml_parser_delete(&self->parser);
    free(self);
}

static status_code refuse(const builder *self, yaml_mark_t mark, const char *message) {
    self->problem->line = (uint32_t)mark.line + 1;
    self->problem->column = (uint32_t)mark.column + 1;
    (void)snprintf(self->problem->message, sizeof self->problem->message, "%s", message);
    return STATUS_INVALID_ARGUMENT;
}

/* The parser does not say in which line bytes are no text. */
static status_code refuse_bytes(const builder *self) {
    const yaml_parser_t *parser = &self->reader->parser;
    self->problem->line = self->problem->column = 0;
    (void)snprintf(self->problem->message, sizeof self->problem->message, "not UTF-8 text (byte %zu): %s",
                   parser->problem_offset, parser->problem == NULL ? "cannot be read" : parser->problem);
    return STATUS_INVALID_ARGUMENT;
}

static status_code refuse_syntax(const builder *self) {
    const yaml_parser_t *parser = &self->reader->parser;
    if (parser->error == YAML_MEMORY_ERROR)
        return STATUS_RESOURCE_EXHAUSTED;
    if (parser->error == YAML_READER_ERROR)
        return refuse_bytes(self);
    char text[200];
    const char *problem = parser->problem == NULL ? "cannot be read" : parser->problem;
    bool tab = strstr(problem, "cannot start any token") != NULL;
    (void)snprintf(text, sizeof text, "not YAML: %s%s", problem,
                   tab ? " (indent with spaces, not with tabs)" : "");
    return refuse(self, parser->problem_mark, text);
}

/* ---- nodes ---- */

static yaml_item *node_new(builder *self, yaml_kind kind, yaml_mark_t mark) {
    yaml_item *node = arena_zero(self->memory, 1, sizeof *node);
    if (node == NULL)
        return NULL;
    node->kind = kind;
    node->line = (uint32_t)mark.line + 1;
    node->column = (uint32_t)mark.column + 1;
    return node;
}

static yaml_style style_of(yaml_scalar_style_t style) {
    switch (style) {
    case YAML_SINGLE_QUOTED_SCALAR_STYLE:
    case YAML_DOUBLE_QUOTED_SCALAR_STYLE:
        return YAML_QUOTED;
    case YAML_LITERAL_SCALAR_STYLE:
        return YAML_LITERAL;
    case YAML_FOLDED_SCALAR_STYLE:
        return YAML_FOLDED;
    default:
        return YAML_PLAIN;
    }
}

static yaml_item *scalar_new(builder *self, const yaml_event_t *event) {
    yaml_item *node = node_new(self, YAML_SCALAR, event->start_mark);
    char *text = arena_alloc(self->memory, event->data.scalar.length + 1);
    if (node == NULL || text == NULL)
        return NULL;
    memcpy(text, event->data.scalar.value, event->data.scalar.length);
    text[event->data.scalar.length] = '\0';
    node->text = text;
    node->size = event->data.scalar.length;
    node->style = style_of(event->data.scalar.style);
    return node;
}

const yaml_item *yaml_member(const yaml_item *map, const char *name) {
    if (map == NULL || map->kind != YAML_MAP)
        return NULL;
    for (const yaml_item *entry = map->first; entry != NULL; entry = entry->next)
        if (strcmp(entry->key->text, name) == 0)
            return entry;
    return NULL;
}

static status_code take_key(const builder *self, level *top, yaml_item *node, yaml_mark_t mark) {
    if (node->kind != YAML_SCALAR)
        return refuse(self, mark, "a key must be text");
    if (strcmp(node->text, "<<") == 0)
        return refuse(self, mark, "merge keys are not taken; write the values out");
    if (yaml_member(top->node, node->text) != NULL) {
        char what[128];
        bool shown = node->size <= 60;
        (void)snprintf(what, sizeof what, "the key \"%s\" stands here twice; keep one",
                       shown ? node->text : "…");
        return refuse(self, mark, what);
    }
    top->key = node;
    return STATUS_OK;
}

/* Puts a node where it belongs: the root, a list's next entry, a mapping's key or value. */
static status_code attach(builder *self, yaml_item *node, yaml_mark_t mark) {
    level *top = self->depth == 0 ? NULL : &self->levels[self->depth - 1];
    if (top == NULL || top->node == NULL) {
        self->root = node;
        return STATUS_OK;
    }
    if (top->node->kind == YAML_MAP && top->key == NULL)
        return take_key(self, top, node, mark);
    const yaml_limits *limits = &self->reader->limits;
    uint32_t most = top->node->kind == YAML_MAP ? limits->keys : limits->entries;
    if (top->node->count == most)
        return refuse(self, mark, "more entries than are taken here");
    node->key = top->key;
    top->key = NULL;
    if (top->last == NULL)
        top->node->first = node;
    else
        top->last->next = node;
    top->last = node;
    top->node->count++;
    return STATUS_OK;
}

/* ---- events ---- */

static bool anchored(const yaml_event_t *event) {
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL;
    case YAML_ALIAS_EVENT:
        return true;
    default:
        return false;
    }
}

static status_code open_level(builder *self, yaml_kind kind, const yaml_event_t *event) {
    if (self->depth == self->reader->limits.depth)
        return refuse(self, event->start_mark, "nested too deeply");
    yaml_item *node = node_new(self, kind, event->start_mark);
    if (node == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    status_code code = attach(self, node, event->start_mark);
    if (code == STATUS_OK)
        self->levels[self->depth++] = (level){.node = node};
    return code;
}

static status_code take_scalar(builder *self, const yaml_event_t *event) {
    if (memchr(event->data.scalar.value, '\0', event->data.scalar.length) != NULL)
        return refuse(self, event->start_mark, "a text with a NUL character");
    yaml_item *node = scalar_new(self, event);
    return node == NULL ? STATUS_RESOURCE_EXHAUSTED : attach(self, node, event->start_mark);
}

static status_code take_event(builder *self, const yaml_event_t *event) {
    if (anchored(event))
        return refuse(self, event->start_mark,
                      "anchors, aliases and tags are not taken; write the value out");
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return take_scalar(self, event);
    case YAML_SEQUENCE_START_EVENT:
        return open_level(self, YAML_LIST, event);
    case YAML_MAPPING_START_EVENT:
        return open_level(self, YAML_MAP, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        self->depth--;
        return STATUS_OK;
    default:
        return STATUS_OK;
    }
}

static bool ends_document(yaml_event_type_t type) {
    return type == YAML_DOCUMENT_END_EVENT || type == YAML_STREAM_END_EVENT;
}

/* The parser's nesting is bounded by open_level, its tokens by the text: every event consumes some. */
status_code yaml_next(yaml_reader *reader, arena *memory, const yaml_item **root, yaml_problem *problem) {
    builder self = {.reader = reader, .memory = memory, .problem = problem};
    for (;;) {
        yaml_event_t event;
        if (yaml_parser_parse(&reader->parser, &event) != 1)
            return refuse_syntax(&self);
        yaml_event_type_t type = event.type;
        status_code code = take_event(&self, &event);
        yaml_event_delete(&event);
        if (code != STATUS_OK)
            return code;
        if (type == YAML_NO_EVENT || ends_document(type)) {
            *root = self.root;
            return STATUS_OK;
        }
    }
}

/* ---- one document ---- */

/* A document without content is an empty plain scalar. */
static bool is_empty(const yaml_item *root) {
    return root->kind == YAML_SCALAR && root->style == YAML_PLAIN && root->size == 0;
}

status_code yaml_read(bytes text, yaml_limits limits, arena *memory, const yaml_item **root,
                      yaml_problem *problem) {
    yaml_reader *reader = yaml_reader_new(text, limits);
    const yaml_item *only = NULL, *another = NULL;
    if (reader == NULL)
        return STATUS_RESOURCE_EXHAUSTED;
    status_code code = yaml_next(reader, memory, &only, problem);
    if (code == STATUS_OK && only != NULL)
        code = yaml_next(reader, memory, &another, problem);
    yaml_reader_free(reader);
    if (code != STATUS_OK)
        return code;
    if (another != NULL) {
        *problem = (yaml_problem){.line = another->line, .column = another->column};
        (void)snprintf(problem->message, sizeof problem->message,
                       "one document is expected, here begins a second");
        return STATUS_INVALID_ARGUMENT;
    }
    *root = only == NULL || is_empty(only) ? NULL : only;
    return STATUS_OK;
}
