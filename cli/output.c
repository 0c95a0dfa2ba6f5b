/* How the commands answer: aligned tables for people, JSON for programs. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "wire/json.h"

#define COLUMNS_MAX 8U
#define ROWS_BYTES (64U << 20)
#define JSON_BYTES (256U << 20)

struct cli_table {
    size_t columns;
    size_t widths[COLUMNS_MAX];
    buffer cells; /* each ends with a NUL, row by row */
    size_t count;
};

/* What a terminal shows of UTF-8 text, one column a code point. */
static size_t shown_width(const char *text) {
    size_t width = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++)
        width += (*c & 0xC0U) != 0x80U;
    return width;
}

cli_table *cli_table_new(const char *const *headings, size_t columns) {
    cli_table *self = calloc(1, sizeof *self);
    if (self == NULL || columns > COLUMNS_MAX) {
        free(self);
        return NULL;
    }
    self->columns = columns;
    buffer_init(&self->cells, ROWS_BYTES);
    cli_table_row(self, headings);
    return self;
}

void cli_table_row(cli_table *self, const char *const *cells) {
    if (self == NULL)
        return;
    for (size_t i = 0; i < self->columns; i++) {
        const char *cell = cells[i] != NULL ? cells[i] : "";
        size_t width = shown_width(cell);
        if (width > self->widths[i])
            self->widths[i] = width;
        buffer_append(&self->cells, cell, strlen(cell) + 1);
        self->count++;
    }
}

void cli_table_write(cli_table *self, buffer *out) {
    if (self == NULL || !buffer_ok(&self->cells)) {
        buffer_text(out, "(the table does not fit in memory; use -o json)\n");
        return;
    }
    const char *cell = self->cells.data;
    for (size_t i = 0; i < self->count; i++) {
        size_t column = i % self->columns;
        bool last = column + 1 == self->columns;
        buffer_text(out, cell);
        if (!last)
            buffer_format(out, "%*s", (int)(self->widths[column] - shown_width(cell) + 2), "");
        else
            buffer_text(out, "\n");
        cell += strlen(cell) + 1;
    }
}

void cli_table_print(cli_table *self, FILE *file) {
    buffer text;
    buffer_init(&text, ROWS_BYTES * 2);
    cli_table_write(self, &text);
    if (buffer_ok(&text) && text.data != NULL)
        fputs(text.data, file);
    buffer_free(&text);
    if (self != NULL)
        buffer_free(&self->cells);
    free(self);
}

/* A message of several lines shows where in a text it went wrong: the code stands at the end of the first. */
cli_exit cli_fail(const char *what, const failure *why) {
    const char *rest = strchr(why->message, '\n');
    int first = (int)(rest != NULL ? (size_t)(rest - why->message) : strlen(why->message));
    fprintf(stderr, "interlock: %s: %.*s", what, first, why->message);
    if (why->field[0] != '\0')
        fprintf(stderr, " (field %s)", why->field);
    fprintf(stderr, " [%s%s%s]\n", status_name(why->code), why->reason != NULL ? " " : "",
            why->reason != NULL ? why->reason : "");
    if (rest != NULL)
        fprintf(stderr, "%s\n", rest + 1);
    if (why->retry_after_ms != 0)
        fprintf(stderr, "interlock: try again in %u ms\n", why->retry_after_ms);
    return CLI_ERROR;
}

cli_exit cli_usage(const cli *self, const failure *why) {
    fprintf(stderr, "interlock: %s\n", why->message);
    if (self->command != NULL)
        fprintf(stderr, "interlock: see interlock %s%s%s --help\n", self->command->noun,
                self->command->verb != NULL ? " " : "",
                self->command->verb != NULL ? self->command->verb : "");
    return CLI_USAGE;
}

cli_exit cli_print_json(const ProtobufCMessage *message) {
    buffer text;
    failure why = {0};
    buffer_init(&text, JSON_BYTES);
    status_code code = wire_to_json(message, WIRE_JSON_CANONICAL, true, &text, &why);
    if (code == STATUS_OK && !buffer_ok(&text))
        code = fail(&why, STATUS_RESOURCE_EXHAUSTED, "ANSWER_TOO_LARGE", "the answer does not fit in memory");
    if (code == STATUS_OK) {
        fputs(text.data, stdout);
        if (text.size == 0 || text.data[text.size - 1] != '\n')
            fputc('\n', stdout);
    }
    buffer_free(&text);
    return code == STATUS_OK ? CLI_OK : cli_fail("cannot write the answer as JSON", &why);
}

void cli_print_json_text(const char *text) {
    putchar('"');
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x20) {
            printf("\\u%04x", *c);
            continue;
        }
        if (*c == '"' || *c == '\\')
            putchar('\\');
        putchar(*c);
    }
    putchar('"');
}

static const char *or_empty(const char *text) {
    return text != NULL ? text : "";
}

const char *cli_percent(arena *memory, double share) {
    double percent = share * 100.0;
    if (percent == 0.0 || percent >= 99.95)
        return or_empty(arena_format(memory, "%.0f %%", percent));
    return or_empty(arena_format(memory, percent < 10.0 ? "%.2f %%" : "%.1f %%", percent));
}

const char *cli_share(arena *memory, double expected, double low, double high) {
    if (high - low < 0.00005)
        return cli_percent(memory, expected);
    return or_empty(arena_format(memory, "%s (%s to %s)", cli_percent(memory, expected),
                                 cli_percent(memory, low), cli_percent(memory, high)));
}

const char *cli_time(arena *memory, int64_t wall_ms) {
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    char text[64];
    if (wall_ms == 0 || gmtime_r(&seconds, &parts) == NULL)
        return "-";
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%SZ", &parts);
    return or_empty(arena_text(memory, text));
}

const char *cli_hex(arena *memory, bytes data) {
    char *text = arena_alloc(memory, data.size * 2 + 1);
    if (text == NULL)
        return "";
    hex_encode(data, text);
    return text;
}

const char *cli_enum(const ProtobufCEnumDescriptor *type, int number, const char *prefix) {
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);
    if (value == NULL)
        return "?";
    size_t size = strlen(prefix);
    return strncmp(value->name, prefix, size) == 0 ? value->name + size : value->name;
}

const char *cli_safe(arena *memory, const char *text) {
    char *copy = arena_text(memory, text != NULL ? text : "");
    if (copy == NULL)
        return "";
    for (unsigned char *c = (unsigned char *)copy; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f)
            *c = ' ';
        if (*c == 0xC2 && c[1] >= 0x80 && c[1] < 0xA0) /* C1 controls, of which some terminals obey */
            c[0] = c[1] = ' ';
    }
    return copy;
}
