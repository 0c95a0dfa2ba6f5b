/* Log records as evidence: the pattern that a span logged, and what an error in it is compared by. */
#ifndef GRAPH_EVIDENCE_LOGS_H
#define GRAPH_EVIDENCE_LOGS_H

#include "evidence_keep.h"
#include "templates.h"

/* What the error in a message is compared by: "Class: message" of an exception, without the packages of the
 * class, the message up to its line's end, a bracket or 80 bytes; or the class alone. False when the message
 * names no exception. Not masked yet. */
bool exception_signature(const char *message, char out[EVIDENCE_ERROR_BYTES]);

/* A record that belongs to a span; others are left to the templates' own counts. */
void evidence_logs_take(evidence_keep *self, const templates *masks, const log_observation *one,
                        uint64_t boot_ms);

#endif
