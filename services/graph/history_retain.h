/* What the history lets go of, at each seal, inside its transaction: segments that ended longer ago than
 * anything is kept; inside older segments, of kinds that are not kept that long, all but the last thing that
 * each timeline said there; and values that nothing refers to any more. What is live is in the keyframes,
 * which stay. */
#ifndef GRAPH_HISTORY_RETAIN_H
#define GRAPH_HISTORY_RETAIN_H

#include "history_internal.h"

#define RETAIN_FOLDS_MAX 4U   /* segments in one seal */
#define RETAIN_SWEEP_EVERY 8U /* segments dropped or folded: then values are looked through */

status_code retain_put(history *self, int64_t now_ms, failure *why) MUST_USE;
/* Whether only the last of what a timeline said in that segment is left. */
bool retain_folded(const history *self, uint32_t timeline, const segment *item);
/* After the commit: memory follows. Under the lock. */
void retain_stored(history *self);

#endif
