/* The service processes that `interlock dev` starts: spawn, wait until one serves, notice an end, stop in
 * reverse. */
#ifndef CLI_CHILDREN_H
#define CLI_CHILDREN_H

#include <sys/types.h>

#include "cli.h"

typedef struct child {
    const char *service;
    pid_t pid; /* 0: not running */
    char log_path[CLI_PATH_BYTES];
} child;

typedef struct children {
    child items[CLI_SERVICES];
    size_t count;
    const char *data_dir;
    const char *bin_dir;
    bool auto_ports;
    const chance *source;
} children;

/* Starts the next service and waits until it serves, or ends, or the time is up. */
status_code children_start(children *self, const char *service, failure *why) MUST_USE;
/* The child with that process id, now known to have ended; NULL when it is none of ours. */
child *children_ended(children *self, pid_t pid);
/* SIGTERM in reverse order, each waited for; one that does not end within 15 s is killed. */
void children_stop(children *self);
/* The last lines of a service's log on standard error. */
void child_show_log(const child *self);

#endif
