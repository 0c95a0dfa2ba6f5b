/* Every decision that the log recorded in a span of time, one after the other. */
#ifndef CLI_DECISIONS_SCAN_H
#define CLI_DECISIONS_SCAN_H

#include "policy_record.h"
#include "progress.h"

/* Called for each decision; `memory` lives until the next page. False ends the scan with *why filled. */
typedef status_code (*decision_visit)(void *self, const recorded_decision *decision, arena *memory,
                                      failure *why);

typedef struct decisions_scan {
    int64_t from_ms, to_ms; /* 0: open */
    const char *verdict;    /* "DENY"; NULL: all */
    decision_visit visit;
    void *self;
    uint64_t seen, unreadable; /* out */
} decisions_scan;

status_code decisions_scan_run(cli *shell, rpc_channel *audit, decisions_scan *scan, failure *why) MUST_USE;

/* --from and --to of the command: "2026-11-22", "2026-11-22T10:00:00Z", or a span back from now: "90m",
 * "24h", "7d". Untouched when not given. */
status_code decisions_scan_times(const cli *shell, decisions_scan *scan, failure *why) MUST_USE;

/* The same for one text; `now_ms` is what spans count back from. False when it is no time. */
bool moment_parse(const char *text, int64_t now_ms, int64_t *out);

#endif
