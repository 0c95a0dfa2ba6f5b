/* How long the history is kept, as an operator writes it: "all=400,calls=90,deploy=0" – days by kind of node
 * or edge, and `all` for everything. 0 or nothing said: as long as `all`; all=0: for ever. */
#ifndef GRAPH_HISTORY_LIMITS_H
#define GRAPH_HISTORY_LIMITS_H

#include "history.h"

#define HISTORY_KEEP_DEFAULT "all=400"

/* INVALID_ARGUMENT (BAD_KEEP), with the word that is wrong. */
status_code history_limits_parse(const char *text, int64_t changes_hours, history_limits *out,
                                 failure *why) MUST_USE;

#endif
