/* Timestamps and durations (langdef.md, "List of Standard Definitions", "Timezones"). */
#include "code.h"
#include "text.h"
#include "zone.h"

#define SECOND INT64_C(1000000000)
#define DAY_SECONDS 86400
#define ZONE_COST 100U /* a file is read */

static cel_value range(const cel_call *call) {
    return call_failed(call, CEL_OUT_OF_RANGE, "timestamp out of range: years 1 to 9999");
}

static cel_value timestamp(cel_call *call, const cel_value *arguments, uint32_t count) {
    cel_value value = arguments[0];
    bool in_range = true;
    (void)count;
    if (value.kind == CEL_TIMESTAMP)
        return value;
    if (value.kind == CEL_INT) {
        if (value.integer < INT64_C(-62135596800) || value.integer > INT64_C(253402300799))
            return range(call);
        return cel_timestamp(value.integer, 0);
    }
    if (!text_read_timestamp(text_bytes(arguments[0]), &value, &in_range))
        return call_failed(call, CEL_BAD_ARGUMENT, "the text is no timestamp as in RFC 3339");
    return in_range ? value : range(call);
}

static cel_value duration(cel_call *call, const cel_value *arguments, uint32_t count) {
    int64_t nanoseconds = 0;
    (void)count;
    if (arguments[0].kind == CEL_DURATION)
        return arguments[0];
    if (!text_read_duration(text_bytes(arguments[0]), &nanoseconds))
        return call_failed(call, CEL_BAD_ARGUMENT, "the text is no duration, or out of range");
    return cel_duration(nanoseconds);
}

/* A date and time on the wall of a zone. */
typedef struct wall {
    int64_t year, month, day, weekday, day_of_year, second;
} wall;

static wall wall_of(int64_t local) {
    wall found = {.second = local % DAY_SECONDS};
    int64_t days = local / DAY_SECONDS;
    if (found.second < 0) {
        found.second += DAY_SECONDS;
        days--;
    }
    date_of(days, &found.year, &found.month, &found.day);
    found.weekday = ((days + 4) % 7 + 7) % 7;
    found.day_of_year = days - days_of(found.year, 1, 1);
    return found;
}

/* False with an error in *wrong when the zone is unknown. */
static bool on_wall(cel_call *call, const cel_value *arguments, uint32_t count, wall *out, cel_value *wrong) {
    int64_t seconds = arguments[0].integer;
    const zone *where = call->self; /* loaded with the program when its name is a literal */
    if (count == 2 && where == NULL) {
        charge(call, ZONE_COST);
        where = call->run->memory == NULL ? NULL : zone_load(text_bytes(arguments[1]), call->run->memory);
        if (where == NULL) {
            *wrong = call_failed(call, CEL_BAD_ARGUMENT, "unknown time zone");
            return false;
        }
    }
    *out = wall_of(seconds + (count == 2 ? zone_offset(where, seconds) : 0));
    return true;
}

#define WALL_GETTER(name, expression)                                                                        \
    static cel_value name(cel_call *call, const cel_value *arguments, uint32_t count) {                      \
        wall at;                                                                                             \
        cel_value wrong;                                                                                     \
        return on_wall(call, arguments, count, &at, &wrong) ? cel_int(expression) : wrong;                   \
    }
WALL_GETTER(get_full_year, at.year)
WALL_GETTER(get_month, at.month - 1)
WALL_GETTER(get_date, at.day)
WALL_GETTER(get_day_of_month, at.day - 1)
WALL_GETTER(get_day_of_week, at.weekday)
WALL_GETTER(get_day_of_year, at.day_of_year)
WALL_GETTER(get_hours, at.second / 3600)
WALL_GETTER(get_minutes, at.second / 60 % 60)
WALL_GETTER(get_seconds, at.second % 60)
WALL_GETTER(get_milliseconds, at.year > 0 ? arguments[0].size / 1000000 : 0)

#define DURATION_GETTER(name, expression)                                                                    \
    static cel_value name(cel_call *call, const cel_value *arguments, uint32_t count) {                      \
        int64_t nanoseconds = arguments[0].integer;                                                          \
        (void)call;                                                                                          \
        (void)count;                                                                                         \
        return cel_int(expression);                                                                          \
    }
DURATION_GETTER(duration_hours, nanoseconds / (3600 * SECOND))
DURATION_GETTER(duration_minutes, nanoseconds / (60 * SECOND))
DURATION_GETTER(duration_seconds, nanoseconds / SECOND)
/* The part below a second, unlike the others. */
DURATION_GETTER(duration_milliseconds, nanoseconds % SECOND / 1000000)

#define GETTER(name, run)                                                                                    \
    {name, ".t", "i", run}, {                                                                                \
        name, ".ts", "i", run                                                                                \
    }
static const library_row TIME[] = {
    {"timestamp", "s", "t", timestamp},
    {"timestamp", "i", "t", timestamp},
    {"timestamp", "t", "t", timestamp},
    {"duration", "s", "r", duration},
    {"duration", "r", "r", duration},
    GETTER("getFullYear", get_full_year),
    GETTER("getMonth", get_month),
    GETTER("getDate", get_date),
    GETTER("getDayOfMonth", get_day_of_month),
    GETTER("getDayOfWeek", get_day_of_week),
    GETTER("getDayOfYear", get_day_of_year),
    GETTER("getHours", get_hours),
    GETTER("getMinutes", get_minutes),
    GETTER("getSeconds", get_seconds),
    GETTER("getMilliseconds", get_milliseconds),
    {"getHours", ".r", "i", duration_hours},
    {"getMinutes", ".r", "i", duration_minutes},
    {"getSeconds", ".r", "i", duration_seconds},
    {"getMilliseconds", ".r", "i", duration_milliseconds},
};
const library library_time = {TIME, sizeof TIME / sizeof *TIME};
