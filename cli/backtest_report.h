/* What a backtest found, for people, programs and browsers. */
#ifndef CLI_BACKTEST_REPORT_H
#define CLI_BACKTEST_REPORT_H

#include <jansson.h>

#include "backtest.h"
#include "cli.h"

typedef struct backtest_scope {
    const policy_set *set;
    const char *events;      /* where they come from */
    bool knows_impact;       /* the graph was asked */
    uint64_t without_impact; /* changes whose impact nobody could tell */
    int64_t window_ms;
    size_t limit; /* rows of the lists */
} backtest_scope;

void backtest_print(cli *self, const backtest *found, const backtest_scope *scope);
json_t *backtest_json(const backtest *found, const backtest_scope *scope);
/* One page that needs nothing else. */
void backtest_html(arena *memory, const backtest *found, const backtest_scope *scope, buffer *out);

/* "REVIEW by two-people", "NOTHING_PERMITTED"; in the arena. */
const char *backtest_because(arena *memory, const backtest_change *change);
/* "service:prod/shop/cart and 7 more"; in the arena. */
const char *backtest_target(arena *memory, const backtest_change *change);
/* "prevented", "held for approval", "narrowed", "missed", "cause not known". */
const char *backtest_fate(const backtest *found, const backtest_incident *incident);

#endif
