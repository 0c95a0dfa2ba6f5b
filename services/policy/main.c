/* interlock-policy: decides whether a proposed action may run. */
#include "policy.h"
#include "policy_rpc.h"

int main(int argc, char **argv) {
    const daemon_spec spec = {
        .name = "policy",
        .purpose = "decides whether a proposed action may run, and keeps the control data",
        .options = policy_options,
        .option_count = policy_option_count,
        .methods = policy_methods,
        .method_count = policy_method_count,
        .open = policy_service_open,
        .start = policy_service_start,
        .ready = policy_service_ready,
        .stop = policy_service_stop,
        .close = policy_service_close,
        .write_metrics = policy_service_write_metrics,
    };
    return daemon_main(&spec, argc, argv);
}
