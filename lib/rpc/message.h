/* gRPC byte buffers <-> protobuf messages. */
#ifndef RPC_MESSAGE_H
#define RPC_MESSAGE_H

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/bytes.h"

/* Scans and unpacks into the arena; the byte buffer (which may be NULL: no message came) stays the
 * caller's. */
status_code message_read(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *wire, size_t limit,
                         arena *memory, ProtobufCMessage **out, failure *why) MUST_USE;

/* Packs straight into a slice; NULL when it is larger than `limit`. */
grpc_byte_buffer *message_write(const ProtobufCMessage *message, size_t limit, size_t *size);

bool slice_equals(grpc_slice slice, const char *text, size_t size);

#endif
