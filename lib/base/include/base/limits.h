/* Every bound that more than one module must agree on; bounds of one module live with it. Units are in the
 * names. */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#define LIMIT_MESSAGE_BYTES (4U << 20)  /* a gRPC message, as the C core's own default */
#define LIMIT_ENVELOPE_BYTES (1U << 20) /* a signed statement as received */
#define LIMIT_MESSAGE_DEPTH 64U         /* nested protobuf messages (protobuf's own default is 100) */
#define LIMIT_MESSAGE_ELEMENTS 200000U  /* fields in a message, all levels together */
#define LIMIT_ARENA_FACTOR 8U           /* an unpacked message may take this times its wire size … */
#define LIMIT_ARENA_BASE_BYTES 65536U   /* … and at least this much */
#define LIMIT_LEAF_BYTES 1024U          /* a leaf of the audit log */
#define LIMIT_NAME_BYTES 256U           /* a node's name, a principal, a SPIFFE id */
#define LIMIT_ACTION_ID_BYTES 128U
#define LIMIT_TARGETS 64U               /* target nodes of an action */
#define LIMIT_ACTION_LIFETIME_MS 600000 /* expires_at - issued_at of an action */
#define LIMIT_CLOCK_SKEW_MS 30000       /* how far ahead another machine's clock may be */
#define LIMIT_PERMIT_LIFETIME_MS 60000  /* exp - iat of a permit */

#endif
