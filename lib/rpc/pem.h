/* Certificates and keys as text, for the two sides of mTLS. */
#ifndef RPC_PEM_H
#define RPC_PEM_H

#include "base/bytes.h"

#define PEM_BYTES_MAX (256U << 10)

typedef struct pem_set {
    buffer certificate, key, authority;
} pem_set;

status_code pem_read(pem_set *out, const char *certificate_path, const char *key_path,
                     const char *authority_path, failure *why) MUST_USE;
void pem_free(pem_set *self); /* the key is overwritten */

#endif
