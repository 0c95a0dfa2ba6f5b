/* What a caller says about itself: whatever is taken for a SPIFFE id gives back exactly its own text, and a
 * role. */
#include <stdlib.h>
#include <string.h>

#include "identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rpc_peer peer;
    const char *text = (const char *)data;
    if (size > 0 && identity_from_spiffe(text, size, "acme.test", &peer) &&
        (strlen(peer.spiffe_id) != size || memcmp(peer.spiffe_id, data, size) != 0 ||
         peer.role == ROLE_NONE || strstr(peer.spiffe_id, peer.principal) == NULL ||
         strchr(peer.principal, '/') == NULL))
        abort();
    if (size > 0 && traceparent_valid(text, size) &&
        (size != TRACEPARENT_SIZE || memchr(data, 0, size) != NULL))
        abort();
    return 0;
}
