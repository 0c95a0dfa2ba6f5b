/* WatchImpact: the impact of every single node, streamed to whoever watches. A thread of its own looks at the
 * newest snapshot a few times a second, computes what changed once for all watchers, and sends. */
#ifndef GRAPH_WATCH_H
#define GRAPH_WATCH_H

#include "ingest.h"
#include "rpc/server.h"

#define WATCHERS_MAX 64U

typedef struct watch watch;

status_code watch_open(watch **out, ingest *from, const chance *source, failure *why) MUST_USE;
status_code watch_start(watch *self, failure *why) MUST_USE;
void watch_stop(watch *self);  /* takes NULL; joins */
void watch_close(watch *self); /* takes NULL; stops first */

/* A stream begins; RESOURCE_EXHAUSTED (TOO_MANY_WATCHERS). Its user data is the watcher. */
status_code watch_add(watch *self, rpc_stream *stream, failure *why) MUST_USE;
/* The stream is over. */
void watch_remove(rpc_stream *stream);

#endif
