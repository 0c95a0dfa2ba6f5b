/* Time zones (RFC 8536, TZif). */
#include "zone.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

#define FILE_BYTES 65536U
#define NAME_BYTES 64U
#define HEADER_BYTES 44U
#define DAY_SECONDS 86400

/* "M3.5.0/2": when daylight saving time begins or ends. */
typedef struct rule {
    int64_t month, week, day, second;
} rule;

struct zone {
    int64_t fixed; /* when there are no transitions and no rules */
    uint32_t count;
    uint32_t types;
    const uint8_t *times; /* big-endian int64 */
    const uint8_t *kinds; /* a type for each time */
    const uint8_t *infos; /* 6 bytes a type: offset, dst, name */
    bool ruled;           /* after the last transition, `standard` and `daylight` alternate */
    int64_t standard, daylight;
    rule begin, end;
};

/* ---- Fixed offsets
 * --------------------------------------------------------------------------------------------- */

static bool read_fixed(bytes name, int64_t *offset) {
    const uint8_t *at = name.data;
    size_t size = name.size;
    int64_t sign = 1;
    if (size == 6 && (*at == '+' || *at == '-')) {
        sign = *at == '-' ? -1 : 1;
        at++;
        size--;
    }
    if (size != 5 || at[2] != ':')
        return false;
    for (size_t i = 0; i < 5; i++)
        if (i != 2 && (at[i] < '0' || at[i] > '9'))
            return false;
    int64_t hours = (at[0] - '0') * 10 + (at[1] - '0');
    int64_t minutes = (at[3] - '0') * 10 + (at[4] - '0');
    *offset = sign * (hours * 3600 + minutes * 60);
    return hours < 24 && minutes < 60;
}

/* ---- The rule after the last transition
 * ------------------------------------------------------------------------ */

static bool skip_name(const char **at) {
    const char *first = *at;
    if (**at == '<') {
        const char *end = strchr(*at, '>');
        *at = end == NULL ? *at : end + 1;
        return end != NULL;
    }
    while ((**at >= 'A' && **at <= 'Z') || (**at >= 'a' && **at <= 'z'))
        ++*at;
    return *at > first;
}

static bool read_number(const char **at, int64_t *value) {
    const char *first = *at;
    *value = 0;
    for (; **at >= '0' && **at <= '9' && *at - first < 4; ++*at)
        *value = *value * 10 + (**at - '0');
    return *at > first;
}

/* "[-]h[:m[:s]]" in seconds. */
static bool read_clock(const char **at, int64_t *seconds) {
    int64_t sign = **at == '-' ? -1 : 1;
    int64_t part = 0;
    int64_t unit = 3600;
    if (**at == '-' || **at == '+')
        ++*at;
    *seconds = 0;
    do {
        if (!read_number(at, &part))
            return false;
        *seconds += part * unit;
        unit /= 60;
    } while (unit > 0 && **at == ':' && ++*at != NULL);
    *seconds *= sign;
    return true;
}

static bool read_rule(const char **at, rule *out) {
    if (**at != ',' || (*at)[1] != 'M')
        return false;
    *at += 2;
    out->second = 7200;
    if (!read_number(at, &out->month) || *(*at)++ != '.' || !read_number(at, &out->week) || *(*at)++ != '.' ||
        !read_number(at, &out->day) || out->month < 1 || out->month > 12 || out->week < 1 || out->week > 5 ||
        out->day > 6)
        return false;
    return **at != '/' || (++*at != NULL && read_clock(at, &out->second));
}

/* POSIX: offsets count west. A footer of another form leaves the last transition's offset in force. */
static void read_footer(zone *self, const char *at) {
    int64_t west = 0;
    if (!skip_name(&at) || !read_clock(&at, &west))
        return;
    self->standard = -west;
    if (!skip_name(&at))
        return;
    self->daylight = self->standard + 3600;
    if (*at != ',' && *at != 0) {
        if (!read_clock(&at, &west))
            return;
        self->daylight = -west;
    }
    self->ruled = read_rule(&at, &self->begin) && read_rule(&at, &self->end);
}

/* When the rule strikes in a year, in local seconds since 1970. */
static int64_t rule_time(const rule *self, int64_t year) {
    int64_t first = days_of(year, self->month, 1);
    int64_t next = self->month == 12 ? days_of(year + 1, 1, 1) : days_of(year, self->month + 1, 1);
    int64_t weekday = ((first + 4) % 7 + 7) % 7;
    int64_t day = first + (self->day - weekday + 7) % 7 + (self->week - 1) * 7;
    while (day >= next)
        day -= 7;
    return day * DAY_SECONDS + self->second;
}

static int64_t ruled_offset(const zone *self, int64_t seconds) {
    int64_t year;
    int64_t month;
    int64_t day;
    int64_t local = seconds + self->standard;
    date_of(local / DAY_SECONDS - (local % DAY_SECONDS < 0), &year, &month, &day);
    int64_t begin = rule_time(&self->begin, year) - self->standard;
    int64_t end = rule_time(&self->end, year) - self->daylight;
    bool daylight = begin < end ? seconds >= begin && seconds < end : seconds >= begin || seconds < end;
    return daylight ? self->daylight : self->standard;
}

/* ---- Files
 * ----------------------------------------------------------------------------------------------------- */

static uint32_t big32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int64_t big64(const uint8_t *at) {
    return (int64_t)((uint64_t)big32(at) << 32 | big32(at + 4));
}

typedef struct counts {
    uint64_t utc, standard, leaps, times, types, chars;
} counts;

/* False when there is no header at `at`. */
static bool read_header(const uint8_t *data, size_t size, size_t at, counts *out) {
    if (at + HEADER_BYTES > size || memcmp(data + at, "TZif", 4) != 0)
        return false;
    const uint8_t *numbers = data + at + 20;
    *out = (counts){big32(numbers),      big32(numbers + 4),  big32(numbers + 8),
                    big32(numbers + 12), big32(numbers + 16), big32(numbers + 20)};
    return true;
}

static bool read_tables(zone *self, const uint8_t *data, size_t size) {
    counts first;
    counts second;
    if (!read_header(data, size, 0, &first) || data[4] < '2')
        return false;
    size_t at = HEADER_BYTES + first.times * 5 + first.types * 6 + first.chars + first.leaps * 8 +
                first.standard + first.utc;
    if (at > size || !read_header(data, size, at, &second) || second.types == 0)
        return false;
    at += HEADER_BYTES;
    size_t end = at + second.times * 9 + second.types * 6 + second.chars + second.leaps * 12 +
                 second.standard + second.utc;
    if (end > size || second.times > FILE_BYTES)
        return false;
    self->count = (uint32_t)second.times;
    self->types = (uint32_t)second.types;
    self->times = data + at;
    self->kinds = self->times + second.times * 8;
    self->infos = self->kinds + second.times;
    for (uint32_t i = 0; i < self->count; i++)
        if (self->kinds[i] >= self->types)
            return false;
    const uint8_t *newline =
        end < size && data[end] == '\n' ? memchr(data + end + 1, '\n', size - end - 1) : NULL;
    char footer[80] = "";
    if (newline != NULL && (size_t)(newline - data) - end - 1 < sizeof footer)
        memcpy(footer, data + end + 1, (size_t)(newline - data) - end - 1);
    read_footer(self, footer);
    return true;
}

static bool is_zone_name(bytes name) {
    if (name.size == 0 || name.size >= NAME_BYTES || name.data[0] == '/' || name.data[0] == '.')
        return false;
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!letter && !(c >= '0' && c <= '9') && c != '_' && c != '+' && c != '-' && c != '/')
            return false;
    }
    return true;
}

static bool read_file(zone *self, bytes name, arena *memory) {
    char path[128];
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%.*s", (int)name.size, (const char *)name.data);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    off_t length = lseek(file, 0, SEEK_END);
    size_t size = length > 0 && length <= (off_t)FILE_BYTES ? (size_t)length : 0;
    uint8_t *data = size == 0 ? NULL : arena_alloc(memory, size);
    bool whole = data != NULL && pread(file, data, size, 0) == (ssize_t)size;
    close(file);
    return whole && read_tables(self, data, size);
}

const zone *zone_load(bytes name, arena *memory) {
    zone *self = arena_zero(memory, 1, sizeof *self);
    if (self == NULL || read_fixed(name, &self->fixed) || bytes_equal(name, bytes_of_text("UTC")) ||
        bytes_equal(name, bytes_of_text("Z")))
        return self;
    return is_zone_name(name) && read_file(self, name, memory) ? self : NULL;
}

int64_t zone_offset(const zone *self, int64_t seconds) {
    if (self->types == 0)
        return self->fixed;
    uint32_t low = 0; /* transitions at or before the time */
    uint32_t high = self->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (big64(self->times + (size_t)middle * 8) <= seconds)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == self->count && self->ruled)
        return ruled_offset(self, seconds);
    uint8_t kind = low == 0 ? 0 : self->kinds[low - 1];
    return (int32_t)big32(self->infos + (size_t)kind * 6);
}
