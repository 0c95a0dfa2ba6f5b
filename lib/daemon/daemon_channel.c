/* Channels from one service to another: the local socket, or where an option says. */
#include <stdio.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon_options.h"

status_code daemon_channel(const daemon_context *context, const char *service, rpc_channel **out,
                           failure *why) {
    const settings *values = context->settings;
    const char *stated = settings_known(values, service) ? settings_text(values, service) : "";
    char path[DAEMON_PATH_BYTES];
    char local[DAEMON_PATH_BYTES + 8];
    status_code code = daemon_run_path(context->data_dir, service, ".sock", path, why);
    if (code != STATUS_OK)
        return code;
    snprintf(local, sizeof local, "unix:%s", path);
    rpc_channel_options options = {.target = stated[0] != '\0' ? stated : local, .role = ROLE_SERVICE};
    if (strncmp(options.target, "unix:", 5) != 0) {
        options.tls_certificate_path = settings_text(values, "tls-certificate");
        options.tls_key_path = settings_text(values, "tls-key");
        options.tls_authority_path = settings_text(values, "tls-authority");
    }
    code = rpc_channel_open(out, &options, why);
    return code == STATUS_OK ? code : fail_within(why, code, "channel to %s", service);
}
