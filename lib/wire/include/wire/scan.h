/* The scanner that runs over hostile protobuf bytes before protobuf-c sees them (PROTOCOL §9), and the
 * stricter check for signed payloads. protobuf-c has no recursion limit, checks no UTF-8 and lets 4 MB of
 * empty submessages become 245 MB; after a scan none of that can happen. Pure functions over the message
 * descriptor; thread-safe. */
#ifndef WIRE_SCAN_H
#define WIRE_SCAN_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/bytes.h"

typedef struct wire_limits {
    size_t depth;       /* nested messages, the outermost is 1 */
    size_t elements;    /* fields in all levels together, packed elements included */
    size_t arena_bytes; /* what unpacking may allocate */
} wire_limits;

/* LIMIT_MESSAGE_DEPTH, LIMIT_MESSAGE_ELEMENTS, max(LIMIT_ARENA_BASE_BYTES, LIMIT_ARENA_FACTOR * wire_size).
 */
wire_limits wire_limits_for(size_t wire_size);

/* Checks that `wire` is a well-formed encoding of `type` within the limits: tags, lengths, wire types of
 * known fields, groups refused, strings UTF-8 without NUL, and an upper estimate of what protobuf-c will
 * allocate. Unknown fields are skipped (but bounded). INVALID_ARGUMENT with the field and the byte offset,
 * reason MALFORMED_MESSAGE for what is no protobuf; and, though other parsers take them: TEXT_NOT_UTF8,
 * TEXT_CONTAINS_NUL, GROUP_REFUSED, WIRE_TYPE_MISMATCH, TAG_OUT_OF_RANGE, MESSAGE_TOO_DEEP.
 * RESOURCE_EXHAUSTED (MESSAGE_TOO_LARGE). */
status_code wire_scan(const ProtobufCMessageDescriptor *type, bytes wire, const wire_limits *limits,
                      failure *why) MUST_USE;

/* Scans, then unpacks into the arena, whose memory the message is; never free it otherwise. */
status_code wire_unpack(const ProtobufCMessageDescriptor *type, bytes wire, arena *memory,
                        ProtobufCMessage **out, failure *why) MUST_USE;

/* For signed payloads: besides the above no unknown field, no duplicate singular field (a oneof counts as
 * one), and packing the message again gives exactly the same bytes. Reason NOT_CANONICAL. */
status_code wire_unpack_signed(const ProtobufCMessageDescriptor *type, bytes wire, arena *memory,
                               ProtobufCMessage **out, failure *why) MUST_USE;

/* The same for a reader that needs only a part: checked as `type`, unpacked as `gist`, a message that has
 * some of its fields. */
status_code wire_unpack_signed_as(const ProtobufCMessageDescriptor *type,
                                  const ProtobufCMessageDescriptor *gist, bytes wire, arena *memory,
                                  ProtobufCMessage **out, failure *why) MUST_USE;

/* Packs into the arena. */
status_code wire_pack(const ProtobufCMessage *message, arena *memory, bytes *out, failure *why) MUST_USE;

/* An allocator for protobuf-c that takes from the arena and never frees; valid as long as the arena. */
ProtobufCAllocator wire_allocator(arena *memory);

#endif
