/* Typed calls of the signer. One a loop, over a stream; all functions and callbacks on the loop's thread. */
#ifndef CLIENT_SIGNER_CLIENT_H
#define CLIENT_SIGNER_CLIENT_H

#include "base/chance.h"
#include "interlock/signer/v1/signer.pb-c.h"
#include "rpc/client.h"
#include "wire/find.h"

typedef struct signer_client signer_client;

/* OK: the permit, a JWS in compact form, valid during the call. */
typedef void (*signer_signed)(void *context, status_code code, const char *permit, const failure *why);

status_code signer_client_open(signer_client **out, rpc_loop *loop, rpc_channel *channel,
                               const chance *source, failure *why) MUST_USE;
void signer_client_close(signer_client *self);
/* `receipt` is a packed Receipt, which goes out as it is. Sends at once or together with others; again after
 * a broken stream (signing is idempotent). At most 4096 pending. */
status_code signer_client_sign(signer_client *self, const wire_part *receipt,
                               const Interlock__Common__V1__Envelope *record, uint64_t deadline_boot_ns,
                               signer_signed done, void *context, failure *why) MUST_USE;
/* Blocking. The JWK set as JSON, in the arena. */
status_code signer_get_keys_wait(rpc_channel *channel, uint32_t timeout_ms, arena *memory, char **jwks,
                                 failure *why) MUST_USE;

#endif
