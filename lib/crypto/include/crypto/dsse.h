/* DSSE envelopes (github.com/secure-systems-lab/dsse, protocol.md): signing, and the one way to open one. */
#ifndef CRYPTO_DSSE_H
#define CRYPTO_DSSE_H

#include "base/arena.h"
#include "crypto/crypto.h"
#include "interlock/common/v1/common.pb-c.h"

/* Payload types: exact, one for each message. */
#define PAYLOAD_ACTION "application/vnd.interlock.action.v1+protobuf"
#define PAYLOAD_DECISION "application/vnd.interlock.decision.v1+protobuf"
#define PAYLOAD_OUTCOME "application/vnd.interlock.outcome.v1+protobuf"
#define PAYLOAD_CHAIN "application/vnd.interlock.chain.v1+protobuf"
#define PAYLOAD_ENROLMENT "application/vnd.interlock.enrolment.v1+protobuf"
#define PAYLOAD_POLICY_SET "application/vnd.interlock.policyset.v1+protobuf"
#define PAYLOAD_KILL "application/vnd.interlock.kill.v1+protobuf"
#define PAYLOAD_GENESIS "application/vnd.interlock.genesis.v1+protobuf"

/* Signs PAE(type, payload); the envelope and its parts are in the arena (payload is not copied). NULL without
 * memory. */
Interlock__Common__V1__Envelope *dsse_sign(const secret_key *key, const char *payload_type, bytes payload,
                                           arena *memory);

/* Packs the statement canonically, then signs it. */
Interlock__Common__V1__Envelope *dsse_sign_message(const secret_key *key, const char *payload_type,
                                                   const ProtobufCMessage *statement, arena *memory);

/* True when the envelope has exactly one signature of 64 bytes, the payload type is `payload_type`, and the
 * signature is `key`'s. The keyid is not looked at. */
bool dsse_verify(const Interlock__Common__V1__Envelope *envelope, const char *payload_type,
                 const public_key *key) MUST_USE;

/* SHA-256 of the payload bytes as received. */
void dsse_payload_digest(const Interlock__Common__V1__Envelope *envelope, uint8_t out[CRYPTO_HASH_BYTES]);

/* A fresh header: type, installation, principal, issued now, expiring after lifetime_ms (0: never), random
 * nonce; in the arena. NULL without memory. */
Interlock__Common__V1__StatementHeader *statement_header_new(const char *type, const char *installation,
                                                             const char *principal, int64_t lifetime_ms,
                                                             const chance *source, arena *memory);

/* Checks a header after its signature: type and installation are ours, a principal is named, nonce of 32
 * bytes, issued_at not further ahead than LIMIT_CLOCK_SKEW_MS, and — when max_lifetime_ms > 0 — expires_at
 * present, later than issued_at by no more than max_lifetime_ms, and not past. UNAUTHENTICATED /
 * INVALID_ARGUMENT with reasons STATEMENT_TYPE, STATEMENT_INSTALLATION, STATEMENT_PRINCIPAL, STATEMENT_NONCE,
 * STATEMENT_FROM_THE_FUTURE, STATEMENT_LIFETIME, STATEMENT_EXPIRED; the message says what to do. */
status_code statement_header_check(const Interlock__Common__V1__StatementHeader *header, const char *type,
                                   const char *installation, int64_t max_lifetime_ms, const chance *source,
                                   failure *why) MUST_USE;

#endif
