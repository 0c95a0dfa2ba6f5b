/* interlock-signer: holds the permit key and nothing else, and signs what audit has recorded. */
#include "signer_rpc.h"

int main(int argc, char **argv) {
    const daemon_spec spec = {
        .name = "signer",
        .purpose = "holds the permit key, and signs the permits that the log has recorded",
        .options = signer_options_table,
        .option_count = signer_options_count,
        .methods = signer_methods,
        .method_count = signer_method_count,
        .open = signer_service_open,
        .close = signer_service_close,
        .write_metrics = signer_service_write_metrics,
    };
    return daemon_main(&spec, argc, argv);
}
