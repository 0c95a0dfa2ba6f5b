/* interlock-memory: what happened before, so that the next agent inherits it. */
#include "memory_rpc.h"
#include "memory_service.h"

int main(int argc, char **argv) {
    const daemon_spec spec = {
        .name = "memory",
        .purpose = "records what became of actions, and recalls what happened before",
        .options = memory_options,
        .option_count = memory_option_count,
        .methods = memory_methods,
        .method_count = memory_method_count,
        .open = memory_service_open,
        .start = memory_service_start,
        .stop = memory_service_stop,
        .close = memory_service_close,
        .write_metrics = memory_service_write_metrics,
        .healthy = memory_service_healthy,
    };
    return daemon_main(&spec, argc, argv);
}
