/* Publishes checkpoints beside the database: the file that the database must extend at the next start. A
 * thread of its own, because an fsync may take long; it lags behind the log by PUBLISHER_PERIOD_MS and a
 * write at most. An fsync that fails ends the process. */
#ifndef AUDIT_PUBLISHER_H
#define AUDIT_PUBLISHER_H

#include "head.h"

#define PUBLISHER_PERIOD_MS 200

typedef struct publisher publisher;

status_code publisher_start(publisher **out, const char *path, log_head *head, failure *why) MUST_USE;
void publisher_stop(publisher *self); /* takes NULL; publishes the last, joins; may be called again */
void publisher_free(publisher *self); /* takes NULL; stops first if need be */
/* Records that the published checkpoint covers. Any thread. */
uint64_t publisher_size(const publisher *self);

#endif
