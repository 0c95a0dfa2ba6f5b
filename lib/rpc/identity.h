/* Pure readers of what a caller says about itself: a SPIFFE id, a stated role, a traceparent. */
#ifndef RPC_IDENTITY_H
#define RPC_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>

#include "rpc/role.h"

#define TRACEPARENT_SIZE 55U /* W3C trace context, version 00 */

rpc_role role_parse_sized(const char *name, size_t size);

/* spiffe://<trust_domain>/<role>/<name> fills `out` entirely; false (out untouched) for any other text. */
bool identity_from_spiffe(const char *id, size_t size, const char *trust_domain, rpc_peer *out);

/* Version 00 exactly: lower-case hex, ids that are not all zero. Others are dropped, as the standard
 * demands of whoever cannot read them. */
bool traceparent_valid(const char *text, size_t size);

#endif
