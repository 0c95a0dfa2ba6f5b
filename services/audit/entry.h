/* Records as they are handed out: sealed on disk, opened on the way. */
#ifndef AUDIT_ENTRY_H
#define AUDIT_ENTRY_H

#include "audit_store.h"

/* Seals a packed record at its index; `out` has room for record.size + CRYPTO_SEAL_OVERHEAD. */
void record_seal(const uint8_t key[CRYPTO_SECRET_BYTES], uint64_t index, bytes record, const chance *source,
                 uint8_t *out);

/* NULL (and OK) when it was erased. DATA_LOSS, reason BODY_DAMAGED. In the arena. */
status_code record_open(audit_store *from, uint64_t index, arena *memory,
                        Interlock__Common__V1__Envelope **out, bytes *salt, failure *why) MUST_USE;

/* The whole entry, in the arena. NOT_FOUND beyond the end. */
status_code entry_read(audit_store *from, uint64_t index, arena *memory, Interlock__Audit__V1__Entry **out,
                       failure *why) MUST_USE;

/* What an entry takes on the wire, roughly and not less. */
size_t entry_size(const Interlock__Audit__V1__Entry *entry);

#endif
