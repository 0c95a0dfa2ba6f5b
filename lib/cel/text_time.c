/* Timestamps (RFC 3339) and durations ("1h30m", "-1.5s") as text. */
#include <stdio.h>
#include <string.h>

#include "text.h"

#define SECOND INT64_C(1000000000)
#define DAY_SECONDS 86400

/* Howard Hinnant's algorithms (chrono-Compatible Low-Level Date Algorithms). */
int64_t days_of(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

void date_of(int64_t days, int64_t *year, int64_t *month, int64_t *day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    *day = day_of_year - (153 * shifted + 2) / 5 + 1;
    *month = shifted + (shifted < 10 ? 3 : -9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

/* ".5" for half a second: at most nine digits without trailing zeros, nothing for zero. */
static void put_fraction(uint32_t nanoseconds, char out[12]) {
    out[0] = 0;
    if (nanoseconds == 0)
        return;
    snprintf(out, 12, ".%09u", nanoseconds % 1000000000U);
    for (size_t size = strlen(out); out[size - 1] == '0'; size--)
        out[size - 1] = 0;
}

void text_timestamp(cel_value value, char out[TEXT_BYTES]) {
    int64_t days = value.integer / DAY_SECONDS;
    int64_t rest = value.integer % DAY_SECONDS;
    if (rest < 0) {
        rest += DAY_SECONDS;
        days--;
    }
    int64_t year;
    int64_t month;
    int64_t day;
    char fraction[12];
    date_of(days, &year, &month, &day);
    put_fraction(value.size, fraction);
    snprintf(out, TEXT_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d%sZ", (int)year, (int)month, (int)day,
             (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60), fraction);
}

void text_duration(cel_value value, char out[TEXT_BYTES]) {
    uint64_t magnitude = value.integer < 0 ? 0 - (uint64_t)value.integer : (uint64_t)value.integer;
    char fraction[12];
    put_fraction((uint32_t)(magnitude % SECOND), fraction);
    snprintf(out, TEXT_BYTES, "%s%llu%ss", value.integer < 0 ? "-" : "",
             (unsigned long long)(magnitude / SECOND), fraction);
}

/* ---- Reading
 * --------------------------------------------------------------------------------------------------- */

typedef struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool wrong;
} cursor;

static int64_t digits(cursor *self, uint32_t count) {
    int64_t value = 0;
    for (; count > 0; count--, self->at++) {
        if (self->at == self->end || *self->at < '0' || *self->at > '9') {
            self->wrong = true;
            return 0;
        }
        value = value * 10 + (*self->at - '0');
    }
    return value;
}

static void mark(cursor *self, char either, char or) {
    if (self->at == self->end || (*self->at != (uint8_t)either && *self->at != (uint8_t) or))
        self->wrong = true;
    else
        self->at++;
}

/* Decimals of a second in ns; more than nine are cut off. */
static int64_t fraction(cursor *self) {
    int64_t value = 0;
    int64_t unit = SECOND / 10;
    if (self->at == self->end || *self->at != '.')
        return 0;
    self->at++;
    const uint8_t *first = self->at;
    for (; self->at < self->end && *self->at >= '0' && *self->at <= '9'; self->at++, unit /= 10)
        value += (*self->at - '0') * unit;
    self->wrong |= self->at == first;
    return value;
}

/* "Z" or "+02:00", in seconds east of UTC. */
static int64_t offset(cursor *self) {
    if (self->at < self->end && (*self->at == 'Z' || *self->at == 'z')) {
        self->at++;
        return 0;
    }
    int64_t sign = self->at < self->end && *self->at == '-' ? -1 : 1;
    mark(self, '+', '-');
    int64_t hours = digits(self, 2);
    mark(self, ':', ':');
    int64_t minutes = digits(self, 2);
    self->wrong |= hours > 23 || minutes > 59;
    return sign * (hours * 3600 + minutes * 60);
}

static bool is_date(int64_t year, int64_t month, int64_t day) {
    static const int64_t LENGTHS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (month < 1 || month > 12 || day < 1)
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return day <= LENGTHS[month - 1] + (month == 2 && leap);
}

bool text_read_timestamp(bytes text, cel_value *value, bool *in_range) {
    cursor self = {.at = text.data, .end = text.data + text.size};
    int64_t year = digits(&self, 4);
    mark(&self, '-', '-');
    int64_t month = digits(&self, 2);
    mark(&self, '-', '-');
    int64_t day = digits(&self, 2);
    mark(&self, 'T', 't');
    int64_t hour = digits(&self, 2);
    mark(&self, ':', ':');
    int64_t minute = digits(&self, 2);
    mark(&self, ':', ':');
    int64_t second = digits(&self, 2);
    int64_t nanoseconds = fraction(&self);
    int64_t east = offset(&self);
    if (self.wrong || self.at != self.end || !is_date(year, month, day) || hour > 23 || minute > 59 ||
        second > 59)
        return false;
    int64_t seconds = days_of(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second - east;
    *in_range = seconds >= INT64_C(-62135596800) && seconds <= INT64_C(253402300799);
    *value = cel_timestamp(seconds, (uint32_t)nanoseconds);
    return true;
}

/* The unit at the cursor in ns, 0 for none. */
static int64_t unit(cursor *self) {
    static const struct {
        const char *name;
        int64_t nanoseconds;
    } UNITS[] = {{"ns", 1},       {"us", 1000},      {"\xC2\xB5s", 1000}, {"\xCE\xBCs", 1000},
                 {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000},  {"h", 3600000000000}};
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++) {
        size_t size = strlen(UNITS[i].name);
        if ((size_t)(self->end - self->at) >= size && memcmp(self->at, UNITS[i].name, size) == 0) {
            self->at += size;
            return UNITS[i].nanoseconds;
        }
    }
    return 0;
}

/* One "1.5h"; adds to the sum of nanoseconds, which is negative so that the whole range of int64 can be read.
 */
static bool term(cursor *self, int64_t *sum) {
    int64_t whole = 0;
    double part = 0;
    double place = 0.1;
    const uint8_t *first = self->at;
    for (; self->at < self->end && *self->at >= '0' && *self->at <= '9'; self->at++)
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, *self->at - '0', &whole))
            return false;
    bool any = self->at > first;
    if (self->at < self->end && *self->at == '.')
        for (self->at++; self->at < self->end && *self->at >= '0' && *self->at <= '9';
             self->at++, place /= 10) {
            part += (*self->at - '0') * place;
            any = true;
        }
    int64_t each = unit(self);
    int64_t product = 0;
    return any && each > 0 && !__builtin_mul_overflow(whole, each, &product) &&
           !__builtin_sub_overflow(*sum, product, sum) &&
           !__builtin_sub_overflow(*sum, (int64_t)(part * (double)each + 0.5), sum);
}

bool text_read_duration(bytes text, int64_t *nanoseconds) {
    cursor self = {.at = text.data, .end = text.data + text.size};
    bool minus = text.size > 0 && text.data[0] == '-';
    self.at += minus || (text.size > 0 && text.data[0] == '+') ? 1 : 0;
    if (self.at == self.end)
        return false;
    int64_t sum = 0;
    if (self.end - self.at == 1 && *self.at == '0') {
        *nanoseconds = 0;
        return true;
    }
    while (self.at < self.end)
        if (!term(&self, &sum))
            return false;
    if (!minus && sum == INT64_MIN)
        return false;
    *nanoseconds = minus ? sum : -sum;
    return true;
}
