/* The commands of `interlock graph` that are not in graph.c. */
#ifndef CLI_GRAPH_COMMANDS_H
#define CLI_GRAPH_COMMANDS_H

#include "cli.h"
#include "interlock/graph/v1/changes.pb-c.h"

cli_exit graph_apply_run(cli *self);
cli_exit graph_drift_run(cli *self);
cli_exit graph_ingest_run(cli *self);

/* "service:prod/shop/cart", or "FROM calls TO"; in the arena of the command. */
const char *graph_statement_text(cli *self, const Interlock__Graph__V1__Statement *what);

#endif
