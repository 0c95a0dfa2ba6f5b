/* interlock-graph: the live causal graph of production, and what it predicts. */
#include "graph.h"
#include "graph_rpc.h"

int main(int argc, char **argv) {
    const daemon_spec spec = {
        .name = "graph",
        .purpose = "keeps the live graph of production from telemetry, and predicts what a change would hit",
        .options = graph_options,
        .option_count = graph_option_count,
        .methods = graph_methods,
        .method_count = graph_method_count,
        .open = graph_service_open,
        .start = graph_service_start,
        .stop = graph_service_stop,
        .close = graph_service_close,
        .write_metrics = graph_service_write_metrics,
        .healthy = graph_service_healthy,
    };
    return daemon_main(&spec, argc, argv);
}
