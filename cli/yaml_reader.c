/* YAML as a tree that remembers where everything stands. */
#include "yaml_reader.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/instant.h"

#define LINE_SHOWN 120U
#define ITEMS_FIRST 8U
#define KEYS_MAX 2048U /* of one map */

typedef struct reading {
    const yaml_source *source;
    yaml_parser_t parser;
    failure *why;
} reading;

/* ---- complaints ---- */

static bytes line_of(bytes text, uint32_t line) {
    const uint8_t *at = text.data, *end = text.data + text.size;
    for (uint32_t i = 1; i < line && at < end; i++) {
        const uint8_t *next = memchr(at, '\n', (size_t)(end - at));
        at = next != NULL ? next + 1 : end;
    }
    const uint8_t *stop = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    size_t size = at < end ? (size_t)((stop != NULL ? stop : end) - at) : 0;
    while (size > 0 && at[size - 1] == '\r')
        size--;
    return bytes_of(at, size);
}

/* The line and a caret below the column (a count of characters, from 1). */
static void show_place(bytes text, uint32_t line, uint32_t column, buffer *out) {
    bytes shown = line_of(text, line);
    size_t size = shown.size;
    if (size > LINE_SHOWN)
        for (size = LINE_SHOWN; size > 0 && (shown.data[size] & 0xC0U) == 0x80U;)
            size--;
    if (column == 0 || column > LINE_SHOWN)
        return;
    buffer_text(out, "\n | ");
    for (size_t i = 0; i < size; i++) {
        const char c = shown.data[i] < ' ' ? ' ' : (char)shown.data[i];
        buffer_append(out, &c, 1);
    }
    buffer_format(out, "\n | %*s^", (int)column - 1, "");
}

static status_code complain(const yaml_source *source, uint32_t line, uint32_t column, failure *why,
                            const char *what) {
    buffer place;
    buffer_init(&place, 4 * LINE_SHOWN + 64);
    if (line > 0 && utf8_valid(source->text))
        show_place(source->text, line, column, &place);
    const char *shown = place.data != NULL && buffer_ok(&place) ? place.data : "";
    status_code code =
        line > 0 ? fail(why, STATUS_INVALID_ARGUMENT, "YAML_INVALID", "%.100s:%u:%u: %.200s%s", source->file,
                        line, column, what, shown)
                 : fail(why, STATUS_INVALID_ARGUMENT, "YAML_INVALID", "%.100s: %.200s", source->file, what);
    buffer_free(&place);
    return code;
}

status_code yaml_fail(const yaml_source *source, const yaml_item *item, failure *why, const char *format,
                      ...) {
    char what[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return complain(source, item != NULL ? item->line : 0, item != NULL ? item->column : 0, why, what);
}

static status_code fail_at(reading *self, yaml_mark_t mark, const char *what) {
    return complain(self->source, (uint32_t)mark.line + 1, (uint32_t)mark.column + 1, self->why, what);
}

static status_code no_memory(reading *self) {
    return fail(self->why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for %.200s",
                self->source->file);
}

/* ---- reading ---- */

static status_code next_event(reading *self, yaml_event_t *event) {
    if (yaml_parser_parse(&self->parser, event) == 1)
        return STATUS_OK;
    const char *problem = self->parser.problem != NULL ? self->parser.problem : "this is not YAML";
    if (self->parser.error == YAML_READER_ERROR)
        return yaml_fail(self->source, NULL, self->why, "not UTF-8 text (byte %zu): %s",
                         self->parser.problem_offset, problem);
    return fail_at(self, self->parser.problem_mark, problem);
}

static status_code refuse_marks(reading *self, const yaml_event_t *event, const yaml_char_t *anchor,
                                const yaml_char_t *tag) {
    if (anchor != NULL)
        return fail_at(self, event->start_mark, "anchors are not allowed here");
    return tag != NULL ? fail_at(self, event->start_mark, "tags are not allowed here") : STATUS_OK;
}

static status_code read_item(reading *self, const yaml_event_t *event, unsigned depth, yaml_item *out);

/* One more element at the end of a list that grows in the arena. */
static yaml_item *grow(reading *self, yaml_item **items, size_t count, size_t *room) {
    if (count == *room) {
        size_t wider = *room == 0 ? ITEMS_FIRST : *room * 2;
        yaml_item *made = arena_zero(self->source->memory, wider, sizeof *made);
        if (made == NULL)
            return NULL;
        if (count > 0)
            memcpy(made, *items, count * sizeof *made);
        *items = made;
        *room = wider;
    }
    return &(*items)[count];
}

static status_code check_key(reading *self, const yaml_item *items, size_t count) {
    const yaml_item *key = &items[count];
    if (key->kind != YAML_TEXT)
        return yaml_fail(self->source, key, self->why, "a key is a text");
    if (count / 2 >= KEYS_MAX)
        return yaml_fail(self->source, key, self->why, "a map has at most %u keys", KEYS_MAX);
    for (size_t i = 0; i < count; i += 2)
        if (strcmp(items[i].text, key->text) == 0)
            return yaml_fail(self->source, key, self->why, "%.64s stands here twice (first in line %u)",
                             key->text, items[i].line);
    return STATUS_OK;
}

static status_code read_collection(reading *self, yaml_event_type_t end, unsigned depth, yaml_item *out) {
    size_t room = 0, count = 0;
    bool map = out->kind == YAML_MAP;
    for (;;) {
        yaml_event_t event;
        status_code code = next_event(self, &event);
        if (code != STATUS_OK)
            return code;
        if (event.type == end) {
            yaml_event_delete(&event);
            break;
        }
        yaml_item *item = grow(self, &out->items, count, &room);
        code = item != NULL ? read_item(self, &event, depth + 1, item) : no_memory(self);
        yaml_event_delete(&event);
        if (code == STATUS_OK && map && count % 2 == 0)
            code = check_key(self, out->items, count);
        if (code != STATUS_OK)
            return code;
        count++;
    }
    out->count = map ? count / 2 : count;
    return STATUS_OK;
}

static status_code read_scalar(reading *self, const yaml_event_t *event, yaml_item *out) {
    out->kind = YAML_TEXT;
    out->size = event->data.scalar.length;
    out->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (strlen((const char *)event->data.scalar.value) != out->size)
        return fail_at(self, event->start_mark, "a text holds no NUL");
    out->text = arena_text(self->source->memory, (const char *)event->data.scalar.value);
    return out->text != NULL ? STATUS_OK : no_memory(self);
}

static status_code read_item(reading *self, const yaml_event_t *event, unsigned depth, yaml_item *out) {
    out->line = (uint32_t)event->start_mark.line + 1;
    out->column = (uint32_t)event->start_mark.column + 1;
    if (depth > YAML_DEPTH)
        return fail_at(self, event->start_mark, "this is nested too deep");
    status_code code = STATUS_OK;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        code = refuse_marks(self, event, event->data.scalar.anchor, event->data.scalar.tag);
        return code == STATUS_OK ? read_scalar(self, event, out) : code;
    case YAML_SEQUENCE_START_EVENT:
        out->kind = YAML_LIST;
        code = refuse_marks(self, event, event->data.sequence_start.anchor, event->data.sequence_start.tag);
        return code == STATUS_OK ? read_collection(self, YAML_SEQUENCE_END_EVENT, depth, out) : code;
    case YAML_MAPPING_START_EVENT:
        out->kind = YAML_MAP;
        code = refuse_marks(self, event, event->data.mapping_start.anchor, event->data.mapping_start.tag);
        return code == STATUS_OK ? read_collection(self, YAML_MAPPING_END_EVENT, depth, out) : code;
    case YAML_ALIAS_EVENT:
        return fail_at(self, event->start_mark, "aliases are not allowed here");
    default:
        return fail_at(self, event->start_mark, "this is not YAML");
    }
}

/* The first document, and that there is no second. */
static status_code read_stream(reading *self, yaml_item *root) {
    bool seen = false, end = false;
    status_code code = STATUS_OK;
    while (code == STATUS_OK && !end) {
        yaml_event_t event;
        code = next_event(self, &event);
        if (code != STATUS_OK)
            return code;
        end = event.type == YAML_STREAM_END_EVENT;
        if (event.type == YAML_DOCUMENT_START_EVENT && seen)
            code = fail_at(self, event.start_mark, "one document is expected, here begins a second");
        else if (event.type != YAML_DOCUMENT_START_EVENT && event.type != YAML_DOCUMENT_END_EVENT &&
                 event.type != YAML_STREAM_START_EVENT && !end) {
            code = read_item(self, &event, 0, root);
            seen = true;
        }
        yaml_event_delete(&event);
    }
    return code;
}

status_code yaml_read(const yaml_source *source, const yaml_item **out, failure *why) {
    reading self = {.source = source, .why = why};
    yaml_item *root = arena_zero(source->memory, 1, sizeof *root);
    if (root == NULL || yaml_parser_initialize(&self.parser) == 0)
        return no_memory(&self);
    root->kind = YAML_MAP;
    root->line = root->column = 1;
    yaml_parser_set_input_string(&self.parser, source->text.data, source->text.size);
    status_code code = read_stream(&self, root);
    yaml_parser_delete(&self.parser);
    if (code == STATUS_OK)
        *out = root;
    return code;
}

/* ---- what is in it ---- */

const yaml_item *yaml_member(const yaml_item *map, const char *key) {
    if (map == NULL || map->kind != YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->items[2 * i].text, key) == 0)
            return &map->items[2 * i + 1];
    return NULL;
}

static bool is_among(const char *text, const char *const *keys) {
    for (; *keys != NULL; keys++)
        if (strcmp(text, *keys) == 0)
            return true;
    return false;
}

static status_code fail_key(const yaml_source *source, const yaml_item *key, const char *what,
                            const char *const *keys, failure *why) {
    buffer list;
    buffer_init(&list, 1024);
    for (const char *const *known = keys; *known != NULL; known++)
        buffer_format(&list, "%s%s", known != keys ? ", " : "", *known);
    status_code code = yaml_fail(source, key, why, "%s has no key %.40s, only %.140s", what, key->text,
                                 list.data != NULL ? list.data : "");
    buffer_free(&list);
    return code;
}

status_code yaml_keys(const yaml_source *source, const yaml_item *map, const char *what,
                      const char *const *keys, failure *why) {
    if (map->kind != YAML_MAP)
        return yaml_fail(source, map, why, "%s is a map", what);
    for (size_t i = 0; i < map->count; i++)
        if (!is_among(map->items[2 * i].text, keys))
            return fail_key(source, &map->items[2 * i], what, keys, why);
    return STATUS_OK;
}

status_code yaml_text_of(const yaml_source *source, const yaml_item *item, const char *what, const char **out,
                         failure *why) {
    if (item == NULL)
        return STATUS_OK;
    if (item->kind != YAML_TEXT)
        return yaml_fail(source, item, why, "%s is a text", what);
    *out = item->text;
    return STATUS_OK;
}

status_code yaml_number_of(const yaml_source *source, const yaml_item *item, const char *what, double least,
                           double most, double *out, failure *why) {
    char *end = NULL;
    if (item == NULL)
        return STATUS_OK;
    double number = item->kind == YAML_TEXT && !item->quoted && item->size > 0 ? strtod(item->text, &end) : 0;
    if (end == NULL || *end != '\0' || isnan(number) || number < least || number > most)
        return yaml_fail(source, item, why, "%s is a number from %.15g to %.15g", what, least, most);
    *out = number;
    return STATUS_OK;
}

status_code yaml_bool_of(const yaml_source *source, const yaml_item *item, const char *what, bool *out,
                         failure *why) {
    if (item == NULL)
        return STATUS_OK;
    bool yes = item->kind == YAML_TEXT && strcmp(item->text, "true") == 0;
    if (!yes && (item->kind != YAML_TEXT || strcmp(item->text, "false") != 0))
        return yaml_fail(source, item, why, "%s is true or false", what);
    *out = yes;
    return STATUS_OK;
}

status_code yaml_texts_of(const yaml_source *source, const yaml_item *item, const char *what,
                          const char *const **out, size_t *count, failure *why) {
    if (item == NULL)
        return STATUS_OK;
    const yaml_item *items = item->kind == YAML_LIST ? item->items : item;
    size_t size = item->kind == YAML_LIST ? item->count : 1;
    const char **texts = arena_zero(source->memory, size + 1, sizeof *texts);
    if (texts == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for %.200s", source->file);
    for (size_t i = 0; i < size; i++) {
        if (items[i].kind != YAML_TEXT)
            return yaml_fail(source, &items[i], why, "%s is a list of texts", what);
        texts[i] = items[i].text;
    }
    *out = texts;
    *count = size;
    return STATUS_OK;
}

status_code yaml_time_of(const yaml_source *source, const yaml_item *item, const char *what, int64_t *out,
                         failure *why) {
    if (item == NULL)
        return STATUS_OK;
    if (item->kind != YAML_TEXT || !instant_parse(item->text, out))
        return yaml_fail(source, item, why, "%s is a time, as 2026-11-22T19:30:00Z", what);
    return STATUS_OK;
}
