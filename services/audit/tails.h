/* Everybody who follows the log, served by one thread with a read-only connection: in order, without gaps, as
 * fast as each one reads, but in batches: what comes within TAIL_PACE_MS of a batch goes out with the next.
 * Whoever is slow has little queued and is looked at again later; nobody waits for anybody. */
#ifndef AUDIT_TAILS_H
#define AUDIT_TAILS_H

#include "base/chance.h"
#include "head.h"
#include "interlock/audit/v1/audit.pb-c.h"
#include "recent.h"
#include "rpc/server.h"

#define TAILS_MAX 64U
#define TAIL_QUEUED_MAX 4U /* messages under way to one follower */
#define TAIL_HEARTBEAT_MS 1000U
#define TAIL_PACE_MS 50U /* at most how long a record waits for others to go out with it */

typedef struct tails tails;
typedef struct follower follower; /* one of those who follow */

status_code tails_start(tails **out, const char *database, log_head *head, recent *newest,
                        const chance *source, failure *why) MUST_USE;
/* On the stream's loop; never waits. OUT_OF_RANGE, reason BEYOND_THE_END: from_index is behind the log's end,
 * so the follower has followed another log. RESOURCE_EXHAUSTED, reason TOO_MANY_FOLLOWERS. */
status_code tails_add(tails *self, rpc_stream *stream, const Interlock__Audit__V1__TailRequest *request,
                      follower **out, failure *why) MUST_USE;
/* The stream is closed; the follower is not the caller's any more. */
void follower_end(follower *self);
size_t tails_count(tails *self);
void tails_stop(tails *self); /* takes NULL; joins; may be called again */
void tails_free(tails *self); /* takes NULL; stops first if need be */

#endif
