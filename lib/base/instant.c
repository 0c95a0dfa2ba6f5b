/* RFC 3339, section 5.6: date "T" time, an optional fraction, and an offset that must be there. */
#include "base/instant.h"

#include <stddef.h>

#define MS_PER_SECOND 1000
#define SECONDS_PER_DAY 86400

/* `count` digits as a number; -1 when they are not. Moves behind them. */
static int digits(const char **at, int count) {
    int value = 0;
    for (int i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return -1;
        value = value * 10 + (**at - '0');
    }
    return value;
}

static bool skip(const char **at, char wanted) {
    if (**at != wanted)
        return false;
    (*at)++;
    return true;
}

static bool is_leap(int year) {
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int month_days(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

static int64_t days_since_1970(int year, int month, int day) {
    int64_t before = year - 1;
    int64_t days = before * 365 + before / 4 - before / 100 + before / 400 - 719162; /* of 1970-01-01 */
    for (int i = 1; i < month; i++)
        days += month_days(year, i);
    return days + day - 1;
}

static bool date_parse(const char **at, int64_t *days) {
    int year = digits(at, 4);
    int month = year >= 1970 && skip(at, '-') ? digits(at, 2) : -1;
    int day = month >= 1 && month <= 12 && skip(at, '-') ? digits(at, 2) : -1;
    if (day < 1 || day > month_days(year, month))
        return false;
    *days = days_since_1970(year, month, day);
    return true;
}

static bool clock_parse(const char **at, int64_t *ms) {
    int hour = digits(at, 2);
    int minute = hour >= 0 && hour <= 23 && skip(at, ':') ? digits(at, 2) : -1;
    int second = minute >= 0 && minute <= 59 && skip(at, ':') ? digits(at, 2) : -1;
    if (second < 0 || second > 60)
        return false;
    int64_t fraction = 0;
    if (skip(at, '.')) {
        if (**at < '0' || **at > '9')
            return false;
        for (int64_t unit = 100; **at >= '0' && **at <= '9'; (*at)++, unit /= 10)
            fraction += (**at - '0') * unit;
    }
    *ms = ((int64_t)hour * 3600 + minute * 60 + (second == 60 ? 59 : second)) * MS_PER_SECOND + fraction;
    return true;
}

static bool offset_parse(const char **at, int64_t *ms) {
    *ms = 0;
    if (skip(at, 'Z') || skip(at, 'z'))
        return true;
    int sign = **at == '-' ? -1 : 1;
    if (!skip(at, '+') && !skip(at, '-'))
        return false;
    int hour = digits(at, 2);
    int minute = hour >= 0 && hour <= 23 && skip(at, ':') ? digits(at, 2) : -1;
    if (minute < 0 || minute > 59)
        return false;
    *ms = (int64_t)sign * (hour * 3600 + minute * 60) * MS_PER_SECOND;
    return true;
}

bool instant_parse(const char *text, int64_t *out) {
    int64_t days = 0;
    int64_t ms = 0;
    int64_t offset = 0;
    if (!date_parse(&text, &days) || !(skip(&text, 'T') || skip(&text, 't') || skip(&text, ' ')) ||
        !clock_parse(&text, &ms) || !offset_parse(&text, &offset) || *text != '\0')
        return false;
    *out = days * SECONDS_PER_DAY * MS_PER_SECOND + ms - offset;
    return true;
}
