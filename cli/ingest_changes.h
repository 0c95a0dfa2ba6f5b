/* Kubernetes objects and CloudEvents to the graph service. */
#ifndef CLI_INGEST_CHANGES_H
#define CLI_INGEST_CHANGES_H

#include "cli.h"

#define REFUSALS_TOLD 20U /* more are only counted */

typedef struct change_totals {
    uint64_t items, accepted, unchanged, ignored, refused; /* unchanged: of events, duplicates */
} change_totals;

/* `path` "-" is standard input. Objects go as they come, also from a stream that stays open (`kubectl get
 * --watch`): what waits is sent as soon as nothing more has arrived. What is refused is told on standard
 * error with its line, and does not end it; JSON that is broken does. Sending the same again changes nothing,
 * so what was cut off is simply run again. */
status_code ingest_objects(cli *self, const char *path, const char *environment, const char *cluster,
                           change_totals *totals, failure *why) MUST_USE;
status_code ingest_events(cli *self, const char *path, change_totals *totals, failure *why) MUST_USE;

#endif
