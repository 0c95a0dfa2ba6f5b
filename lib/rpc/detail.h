/* Failures on the wire: google.rpc.Status with ErrorInfo, BadRequest and RetryInfo, in the trailing metadata
 * grpc-status-details-bin. */
#ifndef RPC_DETAIL_H
#define RPC_DETAIL_H

#include <grpc/grpc.h>

#include "base/arena.h"
#include "base/bytes.h"

#define DETAIL_KEY "grpc-status-details-bin"
#define DETAIL_DOMAIN "interlock"
#define DETAIL_BYTES_MAX 4096U /* as encoded here; a larger one is not read */

/* A slice to unref. `why` is NULL or filled by fail(). */
grpc_slice detail_encode(status_code code, const failure *why);

/* Fills `out` from a status as received: `message` and `detail` are untrusted and may be empty. */
void detail_decode(status_code code, bytes message, bytes detail, failure *out);

/* The same text in static storage. At most 256 different ones are kept, after that "REASON_NOT_KEPT". */
const char *reason_intern(bytes text);

#endif
