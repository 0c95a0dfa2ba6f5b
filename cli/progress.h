/* A line on standard error that says how far long work has got: only on a terminal, only after a second. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "base/chance.h"
#include "base/status.h"

typedef struct progress {
    const chance *source;
    const char *what; /* "decisions" */
    uint64_t started_ms, shown_ms;
    bool shows;
} progress;

void progress_start(progress *self, const chance *source, const char *what);
/* `whole` 0: not known. Cheap: call it for every item. */
void progress_at(progress *self, uint64_t done, uint64_t whole);
/* Takes the line away. */
void progress_end(progress *self);

#endif
