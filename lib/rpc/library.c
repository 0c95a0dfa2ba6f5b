/* Starts gRPC, and keeps it quiet: a library does not write to a process's standard error. */
#include "library.h"

#include <pthread.h>
#include <stdlib.h>

#include <grpc/grpc.h>
#include <grpc/support/log.h>

static void say_nothing(gpr_log_func_args *arguments) {
    (void)arguments;
}

/* Whoever debugs gRPC itself sets GRPC_VERBOSITY and hears it. */
static void be_quiet(void) {
    if (getenv("GRPC_VERBOSITY") == NULL)
        gpr_set_log_function(say_nothing);
}

void library_enter(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, be_quiet);
    grpc_init();
}

void library_leave(void) {
    grpc_shutdown_blocking();
}

void library_leave_on_loop(void) {
    grpc_shutdown();
}
