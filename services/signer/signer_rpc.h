/* The signer's methods and its options, for main.c and tests. */
#ifndef SIGNER_SIGNER_RPC_H
#define SIGNER_SIGNER_RPC_H

#include "daemon/daemon.h"

extern const rpc_method signer_methods[];
extern const size_t signer_method_count;
extern const option signer_options_table[];
extern const size_t signer_options_count;

status_code signer_service_open(const daemon_context *context, void **service, failure *why);
void signer_service_close(void *service);
void signer_service_write_metrics(void *service, buffer *out);

#endif
