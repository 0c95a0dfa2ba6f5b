/* The past as the graph has it: its deploys, settings, flags and incidents as CloudEvents. */
#ifndef CLI_BACKTEST_GRAPH_H
#define CLI_BACKTEST_GRAPH_H

#include <jansson.h>

#include "cli.h"

/* An array of events from `from_ms` on (0: all that is kept). The caller's. */
status_code backtest_graph_events(cli *self, int64_t from_ms, json_t **out, failure *why) MUST_USE;

#endif
