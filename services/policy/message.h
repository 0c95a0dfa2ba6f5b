/* Keeping a message beyond the callback that lent it. */
#ifndef POLICY_MESSAGE_H
#define POLICY_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "interlock/common/v1/common.pb-c.h"

/* A deep copy in the arena; NULL without memory. For messages that have passed the scanner. */
ProtobufCMessage *message_copy(const ProtobufCMessage *message, arena *memory);

/* The envelope without fields that its type does not have: what the signature does not cover stays out of
 * records. The parts are shared, not copied. NULL without memory. One signature is expected. */
Interlock__Common__V1__Envelope *envelope_clean(const Interlock__Common__V1__Envelope *envelope,
                                                arena *memory);

#endif
