/* The development authority: a private CA and certificates with a SPIFFE id (X.509-SVID), for `interlock
 * init`. Production brings its own. ECDSA P-256, PEM files, keys mode 0600. */
#ifndef CRYPTO_X509_H
#define CRYPTO_X509_H

#include "crypto/crypto.h"

/* Writes DIR/ca.pem and DIR/ca.key (ten years). */
status_code x509_create_authority(const char *directory, const char *common_name, failure *why) MUST_USE;

/* Writes DIR/NAME.pem and DIR/NAME.key, signed by DIR's authority, with the URI SAN `spiffe_id` and, for a
 * server, the DNS name localhost and the address 127.0.0.1. */
status_code x509_issue(const char *directory, const char *name, const char *spiffe_id, bool server,
                       failure *why) MUST_USE;

#endif
