/* Confirmed chains of causes, from the log into the history: what was suspected is caused. */
#ifndef GRAPH_CHAINS_H
#define GRAPH_CHAINS_H

#include "history.h"
#include "interlock/audit/v1/audit.pb-c.h"

/* True when a record is a confirmed chain. */
bool chains_is_one(const Interlock__Audit__V1__Entry *entry);

/* Takes the chains among these records of the log. What is below *next was taken before; *next becomes the
 * first index after them. What cannot be a chain of this graph (a name that it does not take, a full
 * history) is let be and logged: the log goes on. */
status_code chains_take(history *past, const Interlock__Audit__V1__TailResponse *batch, int64_t now_ms,
                        uint64_t *next, failure *why) MUST_USE;

#endif
