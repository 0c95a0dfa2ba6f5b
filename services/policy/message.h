/* Keeping a message beyond the callback that lent it. */
#ifndef POLICY_MESSAGE_H
#define POLICY_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"

/* A deep copy in the arena; NULL without memory. For messages that have passed the scanner. */
ProtobufCMessage *message_copy(const ProtobufCMessage *message, arena *memory);

#endif
