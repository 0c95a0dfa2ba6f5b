/* interlock-audit: the log, the one history of every action. */
#include <signal.h>

#include "audit.h"
#include "audit_rpc.h"

int main(int argc, char **argv) {
    crypto_init();
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is a full disk, which audit survives */
    const daemon_spec spec = {
        .name = "audit",
        .purpose = "keeps the log: an append-only, signed history of every action that verifies offline",
        .options = audit_option_table,
        .option_count = audit_option_count,
        .methods = audit_methods,
        .method_count = audit_method_count,
        .open = audit_open,
        .stop = audit_stop,
        .close = audit_close,
        .write_metrics = audit_write_metrics,
    };
    return daemon_main(&spec, argc, argv);
}
