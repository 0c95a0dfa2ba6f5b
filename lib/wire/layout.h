/* How protobuf-c lays a message out in memory: what its header does not say. Pure; thread-safe. */
#ifndef WIRE_LAYOUT_H
#define WIRE_LAYOUT_H

#include <protobuf-c/protobuf-c.h>

/* Bytes of an element in the array of a repeated field. */
size_t layout_element_size(ProtobufCType type);

#endif
