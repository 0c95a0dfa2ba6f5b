/* protobuf-c's working memory while it unpacks, which the scanner counts and wire_unpack's allocator uses
 * again: it keeps a ScannedMember for each field of a message, the first sixteen on the stack, the others in
 * slabs that double in size and are freed when the message is done. In an arena that frees nothing, the slabs
 * of a thousand spans would be most of what the spans take. */
#ifndef WIRE_SLABS_H
#define WIRE_SLABS_H

#include "wire/scan.h"

#define SLAB_MEMBER_BYTES 32U
#define SLAB_MEMBERS_ON_STACK 16U
#define SLAB_BYTES_LEAST (2U * SLAB_MEMBERS_ON_STACK * SLAB_MEMBER_BYTES)
#define SLAB_CLASSES 16U /* sizes that are used again: up to two million fields of one message */
#define SLAB_HEADER_BYTES 16U

/* Every allocation of such a size has a header, by which it is used again once it is freed. */
static inline bool is_slab_size(size_t size) {
    return size >= SLAB_BYTES_LEAST && (size & (size - 1)) == 0;
}

/* wire_scan; `strict` refuses what a signed payload may not have, but for the packing again. */
status_code wire_scan_as(const ProtobufCMessageDescriptor *type, bytes wire, const wire_limits *limits,
                         bool strict, failure *why) MUST_USE;

#endif
