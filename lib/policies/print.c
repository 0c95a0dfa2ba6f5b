/* Values as CEL would write them, for people. */
#include <math.h>
#include <string.h>

#include "policies/explain.h"
#include "private.h"

#define PRINT_ELEMENTS 50U
#define PRINT_DEPTH 8U

static void print_value(cel_value value, unsigned depth, buffer *out);

static void print_text(const char *text, size_t size, buffer *out) {
    buffer_text(out, "\"");
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            buffer_format(out, "\\%c", c);
        else if (c < ' ' || c == 0x7f)
            buffer_format(out, "\\x%02x", c);
        else
            buffer_append(out, &text[i], 1);
    }
    buffer_text(out, "\"");
}

static void print_double(double value, buffer *out) {
    buffer_format(out, "%.10g", value);
    if (isfinite(value) && strpbrk(out->data, ".e") == NULL)
        buffer_text(out, ".0");
}

static void print_list(const cel_list *list, unsigned depth, buffer *out) {
    buffer_text(out, "[");
    for (uint32_t i = 0; i < list->count && i < PRINT_ELEMENTS; i++) {
        buffer_text(out, i == 0 ? "" : ", ");
        print_value(cel_list_at(list, i), depth, out);
    }
    buffer_text(out, list->count > PRINT_ELEMENTS ? ", …]" : "]");
}

static void print_map(const cel_map *map, unsigned depth, buffer *out) {
    buffer_text(out, "{");
    for (uint32_t i = 0; i < map->count && i < PRINT_ELEMENTS; i++) {
        cel_entry entry = cel_map_at(map, i);
        buffer_text(out, i == 0 ? "" : ", ");
        print_value(entry.key, depth, out);
        buffer_text(out, ": ");
        print_value(entry.value, depth, out);
    }
    buffer_text(out, map->count > PRINT_ELEMENTS ? ", …}" : "}");
}

static void print_object(const cel_object *object, unsigned depth, buffer *out) {
    buffer_format(out, "%s{", object->type->name);
    bool first = true;
    for (uint32_t i = 0; i < object->type->count; i++) {
        cel_value value;
        if (!object->type->get(object->host, i, &value))
            continue;
        buffer_format(out, "%s%s: ", first ? "" : ", ", object->type->fields[i].name);
        print_value(value, depth, out);
        first = false;
    }
    buffer_text(out, "}");
}

/* Days since 1970 to a date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
 */
static void print_date(int64_t days, buffer *out) {
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t of_era = z - era * 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * of_year + 2) / 153;
    int64_t day = of_year - (153 * shifted + 2) / 5 + 1;
    int64_t month = shifted < 10 ? shifted + 3 : shifted - 9;
    int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
    buffer_format(out, "%04lld-%02lld-%02lld", (long long)year, (long long)month, (long long)day);
}

static void print_timestamp(cel_value value, buffer *out) {
    int64_t days = value.integer / 86400, rest = value.integer % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    buffer_text(out, "timestamp(\"");
    print_date(days, out);
    buffer_format(out, "T%02lld:%02lld:%02lld", (long long)(rest / 3600), (long long)(rest / 60 % 60),
                  (long long)(rest % 60));
    if (value.size != 0)
        buffer_format(out, ".%03u", value.size / 1000000U);
    buffer_text(out, "Z\")");
}

static void print_duration(int64_t nanoseconds, buffer *out) {
    buffer_format(out, "duration(\"%.9gs\")", (double)nanoseconds / 1e9);
}

static void print_other(cel_value value, unsigned depth, buffer *out) {
    switch (value.kind) {
    case CEL_OPTIONAL:
        buffer_text(out, value.inner == NULL ? "optional.none()" : "optional.of(");
        if (value.inner != NULL) {
            print_value(*value.inner, depth, out);
            buffer_text(out, ")");
        }
        break;
    case CEL_UNKNOWN:
        buffer_format(out, "unknown: %s", value.text);
        break;
    case CEL_ERROR:
        buffer_format(out, "error: %s", value.text);
        break;
    case CEL_TYPE:
        buffer_append(out, value.text, value.size == 0 ? strlen(value.text) : value.size);
        break;
    default:
        buffer_format(out, "(%s)", cel_kind_name((cel_kind)value.kind));
    }
}

static void print_value(cel_value value, unsigned depth, buffer *out) {
    if (depth == PRINT_DEPTH) {
        buffer_text(out, "…");
        return;
    }
    switch (value.kind) {
    case CEL_NULL:
        buffer_text(out, "null");
        break;
    case CEL_BOOL:
        buffer_text(out, value.boolean ? "true" : "false");
        break;
    case CEL_INT:
        buffer_format(out, "%lld", (long long)value.integer);
        break;
    case CEL_UINT:
        buffer_format(out, "%lluu", (unsigned long long)value.natural);
        break;
    case CEL_DOUBLE: {
        buffer number;
        buffer_init(&number, 64);
        print_double(value.real, &number);
        buffer_text(out, number.data == NULL ? "" : number.data);
        buffer_free(&number);
        break;
    }
    case CEL_STRING:
        print_text(value.text, value.size, out);
        break;
    case CEL_BYTES:
        buffer_text(out, "b");
        print_text(value.text, value.size, out);
        break;
    case CEL_LIST:
        print_list(value.list, depth + 1, out);
        break;
    case CEL_MAP:
        print_map(value.map, depth + 1, out);
        break;
    case CEL_OBJECT:
        print_object(value.object, depth + 1, out);
        break;
    case CEL_TIMESTAMP:
        print_timestamp(value, out);
        break;
    case CEL_DURATION:
        print_duration(value.integer, out);
        break;
    default:
        print_other(value, depth + 1, out);
    }
}

void policy_value_print(cel_value value, buffer *out) {
    print_value(value, 0, out);
}

/* The time zone stands in the expression that computes the minute, between its first quotes. */
static void print_window(const policy_window *self, buffer *out) {
    static const char *const days[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
    bytes source = cel_program_source(self->minute);
    const uint8_t *zone = memchr(source.data, '\'', source.size);
    size_t left = zone != NULL ? source.size - (size_t)(++zone - source.data) : 0;
    const uint8_t *end = zone != NULL ? memchr(zone, '\'', left) : NULL;
    for (unsigned day = 0; day < 7; day++)
        if (self->days != 0x7f && (self->days >> day & 1U) != 0)
            buffer_format(out, "%s ", days[day]);
    buffer_format(out, "%02u:%02u-%02u:%02u", self->from / 60U, self->from % 60U, self->to / 60U,
                  self->to % 60U);
    if (end != NULL)
        buffer_format(out, " %.*s", (int)(end - zone), (const char *)zone);
}

void policy_windows_print(const policy_rule *rule, buffer *out) {
    for (size_t i = 0; i < rule->window_count; i++) {
        buffer_text(out, i > 0 ? "; " : "");
        print_window(&rule->windows[i], out);
    }
}
