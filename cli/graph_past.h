/* The graph at an instant, for the commands that ask about it. */
#ifndef CLI_GRAPH_PAST_H
#define CLI_GRAPH_PAST_H

#include "cli.h"
#include "drawing.h"

/* "2026-11-22T19:24:50Z", "2026-11-22", milliseconds since 1970, "now", or how long ago: "90s", "15m", "2h",
 * "3d". */
status_code graph_instant(cli *self, const char *text, int64_t *out, failure *why) MUST_USE;

cli_exit graph_at_run(cli *self);
cli_exit graph_export_run(cli *self);
cli_exit graph_diff_run(cli *self);
cli_exit graph_node_run(cli *self);
cli_exit graph_connected_run(cli *self);

/* -o dot or svg on standard output. */
cli_exit graph_draw(cli *self, const drawing *what, const char *command);
/* "in_zone"; in the arena. */
const char *graph_kind_word(cli *self, int edge_kind);

#endif
