/* The scanner over hostile protobuf bytes. It walks the message exactly as protobuf-c 1.4.1's unpack will,
 * and adds up what that will take from an arena; the sums below name the allocations of
 * protobuf_c_message_unpack. */
#include "wire/scan.h"

#include <string.h>

#include "base/limits.h"
#include "canonical.h"
#include "layout.h"
#include "slabs.h"

#define VARINT_BYTES 10U       /* 64 bits in groups of seven */
#define TAG_BYTES 5U           /* also of a length: 32 bits */
#define DEPTH_MAX 255U         /* whatever the limits say */
#define REQUIRED_ON_STACK 128U /* fields whose bitmap of required ones is on the stack */
#define SEEN_FIELDS 64U        /* fields of a message whose repetition is tracked exactly */

enum { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_LENGTH = 2, WIRE_GROUP = 3, WIRE_GROUP_END = 4, WIRE_32BIT = 5 };

typedef struct scanner {
    const uint8_t *start; /* of the outermost message, for offsets */
    const wire_limits *limits;
    size_t elements; /* seen so far */
    size_t estimate; /* of what unpacking takes from an arena */
    bool strict;     /* a signed payload */
    failure *why;
} scanner;

/* One message on the way. */
typedef struct frame {
    const ProtobufCMessageDescriptor *type;
    const uint8_t *at;
    const uint8_t *end;
    size_t depth;
    size_t members;   /* fields of this message */
    unsigned hint;    /* index of the field last seen */
    uint32_t last;    /* its number, in a signed payload */
    uint64_t seen;    /* bit i: field i occurred */
    size_t arrays;    /* bytes of repeated fields here and in singular messages below: what a merge copies */
    unsigned classes; /* of slabs in use at once, here and below: the largest */
    uint8_t slabs[SLAB_CLASSES]; /* how many of each */
} frame;

static status_code scan_message(scanner *self, frame *message);

/* What the arena gives for an allocation. */
static size_t rounded(size_t size) {
    if (size == 0)
        return 16U;
    return ((size + 15U) & ~(size_t)15U) + (is_slab_size(size) ? SLAB_HEADER_BYTES : 0U);
}

static status_code refuse(scanner *self, const uint8_t *at, const char *reason, const char *what) {
    return fail(self->why, STATUS_INVALID_ARGUMENT, reason, "%s at byte %zu of the message", what,
                (size_t)(at - self->start));
}

static status_code refuse_field(scanner *self, const frame *message, const ProtobufCFieldDescriptor *field,
                                const char *reason, const char *what) {
    fail_field(self->why, field->name, reason, "field %s of %s %s, at byte %zu of the message", field->name,
               message->type->name, what, (size_t)(message->at - self->start));
    return STATUS_INVALID_ARGUMENT;
}

static status_code charge(scanner *self, size_t size) {
    if (size > self->limits->arena_bytes || self->estimate > self->limits->arena_bytes - size)
        return fail(self->why, STATUS_RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE",
                    "the message would take more than %zu bytes of memory; send less at once",
                    self->limits->arena_bytes);
    self->estimate += size;
    return STATUS_OK;
}

static status_code count_elements(scanner *self, size_t count) {
    if (count > self->limits->elements - self->elements)
        return fail(self->why, STATUS_RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE",
                    "the message has more than %zu fields and elements; send less at once",
                    self->limits->elements);
    self->elements += count;
    return STATUS_OK;
}

/* The bytes of a varint, or 0 when it does not end within `most` bytes. Bits beyond the 64th are dropped, as
 * every protobuf parser does. */
static size_t read_varint(const uint8_t *at, const uint8_t *end, size_t most, uint64_t *out) {
    size_t left = (size_t)(end - at);
    if (left > most)
        left = most;
    uint64_t value = 0;
    for (size_t i = 0; i < left; i++) {
        value |= (uint64_t)(at[i] & 0x7fU) << (7U * i);
        if ((at[i] & 0x80U) == 0) {
            *out = value;
            return i + 1;
        }
    }
    return 0;
}

/* NULL when the field is unknown. Senders write in the order of tags: the last field or the one after it is
 * the usual answer. */
static const ProtobufCFieldDescriptor *field_find(frame *message, uint32_t number) {
    const ProtobufCMessageDescriptor *type = message->type;
    for (unsigned i = message->hint; i < type->n_fields && i <= message->hint + 1; i++) {
        if (type->fields[i].id == number) {
            message->hint = i;
            return &type->fields[i];
        }
    }
    unsigned low = 0;
    unsigned high = type->n_fields;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (type->fields[middle].id < number)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == type->n_fields || type->fields[low].id != number)
        return NULL;
    message->hint = low;
    return &type->fields[low];
}

static bool is_packable(ProtobufCType type) {
    return type != PROTOBUF_C_TYPE_STRING && type != PROTOBUF_C_TYPE_BYTES && type != PROTOBUF_C_TYPE_MESSAGE;
}

static unsigned wire_type_of(ProtobufCType type) {
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_32BIT;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_LENGTH;
    default:
        return WIRE_VARINT;
    }
}

static bool oneof_seen(const frame *message, const ProtobufCFieldDescriptor *field) {
    for (unsigned i = 0; i < message->type->n_fields && i < SEEN_FIELDS; i++) {
        const ProtobufCFieldDescriptor *other = &message->type->fields[i];
        if ((other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
            other->quantifier_offset == field->quantifier_offset && (message->seen >> i & 1U) != 0)
            return true;
    }
    return false;
}

/* Marks the field as seen; true when it may have occurred before. */
static bool mark_seen(frame *message) {
    if (message->hint >= SEEN_FIELDS)
        return true;
    uint64_t bit = (uint64_t)1 << message->hint;
    bool before = (message->seen & bit) != 0;
    message->seen |= bit;
    return before;
}

/* Adds to the array of a repeated field. */
static status_code charge_array(scanner *self, frame *message, const ProtobufCFieldDescriptor *field,
                                size_t count) {
    size_t size = count * layout_element_size(field->type);
    if (!mark_seen(message) || message->hint >= SEEN_FIELDS)
        size += 15U + SLAB_HEADER_BYTES; /* once an array: to round it up, and should it get a slab's size */
    message->arrays += size;
    return charge(self, size);
}

static status_code refuse_form(scanner *self, const frame *message, const ProtobufCFieldDescriptor *field) {
    return refuse_field(self, message, field, "NOT_CANONICAL",
                        "is not in its canonical encoding: write fields in the order of their numbers, "
                        "without default values, numbers as short as they can be");
}

static status_code scan_packed(scanner *self, frame *message, const ProtobufCFieldDescriptor *field,
                               const uint8_t *end) {
    size_t size = (size_t)(end - message->at);
    size_t count = 0;
    unsigned wire_type = wire_type_of(field->type);
    if (wire_type != WIRE_VARINT) {
        size_t width = layout_element_size(field->type);
        if (size % width != 0)
            return refuse_field(self, message, field, "MALFORMED_MESSAGE",
                                "is packed but not of whole elements");
        count = size / width;
        message->at = end;
    }
    while (message->at < end) {
        uint64_t value;
        size_t used = read_varint(message->at, end, VARINT_BYTES, &value);
        if (used == 0)
            return refuse_field(self, message, field, "MALFORMED_MESSAGE", "holds a varint without end");
        if (self->strict && !canonical_number(field->type, message->at, used))
            return refuse_form(self, message, field);
        message->at += used;
        count++;
    }
    if (field->type == PROTOBUF_C_TYPE_BOOL)
        count = size; /* protobuf-c makes room for an element a byte */
    status_code code = count_elements(self, count);
    return code != STATUS_OK ? code : charge_array(self, message, field, count);
}

/* Of the messages inside, one at a time is unpacked; the next uses its slabs again. */
static void keep_largest(frame *message, const frame *inner) {
    for (unsigned i = 0; i < inner->classes; i++)
        if (inner->slabs[i] > message->slabs[i])
            message->slabs[i] = inner->slabs[i];
    if (inner->classes > message->classes)
        message->classes = inner->classes;
}

static status_code scan_submessage(scanner *self, frame *message, const ProtobufCFieldDescriptor *field,
                                   const uint8_t *end) {
    if (message->depth >= self->limits->depth || message->depth >= DEPTH_MAX)
        return fail(self->why, STATUS_INVALID_ARGUMENT, "MESSAGE_TOO_DEEP",
                    "messages are nested more than %zu deep at byte %zu of the message", self->limits->depth,
                    (size_t)(message->at - self->start));
    frame inner = {.type = field->descriptor, .at = message->at, .end = end, .depth = message->depth + 1};
    status_code code = scan_message(self, &inner);
    if (code != STATUS_OK)
        return code;
    message->at = end;
    keep_largest(message, &inner);
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return STATUS_OK;
    /* A singular message that occurs again is merged: its repeated fields are copied into new arrays, no
     * larger than all such arrays so far. */
    message->arrays += inner.arrays;
    return mark_seen(message) ? charge(self, message->arrays) : STATUS_OK;
}

static status_code scan_length_prefixed(scanner *self, frame *message, const ProtobufCFieldDescriptor *field,
                                        const uint8_t *end) {
    size_t size = (size_t)(end - message->at);
    if (is_packable(field->type))
        return scan_packed(self, message, field, end);
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        status_code code = charge_array(self, message, field, 1);
        if (code != STATUS_OK)
            return code;
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return scan_submessage(self, message, field, end);
    const uint8_t *data = message->at;
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        if (!utf8_valid(bytes_of(data, size)))
            return refuse_field(
                self, message, field, memchr(data, 0, size) == NULL ? "TEXT_NOT_UTF8" : "TEXT_CONTAINS_NUL",
                memchr(data, 0, size) == NULL ? "is not valid UTF-8" : "contains a NUL character");
        size++; /* protobuf-c adds a NUL */
    }
    mark_seen(message);
    message->at = end;
    return size == 0 ? STATUS_OK : charge(self, rounded(size));
}

/* Skips over a field's value and says where it ends; message->at is left at its content. */
static status_code value_end(scanner *self, frame *message, unsigned wire_type, const uint8_t **end) {
    size_t left = (size_t)(message->end - message->at);
    uint64_t value;
    size_t used;
    switch (wire_type) {
    case WIRE_VARINT:
        used = read_varint(message->at, message->end, VARINT_BYTES, &value);
        if (used == 0)
            return refuse(self, message->at, "MALFORMED_MESSAGE", "there is a varint without end");
        break;
    case WIRE_64BIT:
        used = 8;
        break;
    case WIRE_32BIT:
        used = 4;
        break;
    case WIRE_LENGTH:
        used = read_varint(message->at, message->end, TAG_BYTES, &value);
        if (used == 0 || value > left - used)
            return refuse(self, message->at, "MALFORMED_MESSAGE", "a length reaches beyond the message");
        message->at += used;
        left -= used;
        used = (size_t)value;
        break;
    case WIRE_GROUP:
    case WIRE_GROUP_END:
        return refuse(self, message->at, "GROUP_REFUSED", "there is a group, which Interlock does not take,");
    default:
        return refuse(self, message->at, "MALFORMED_MESSAGE", "there is an unknown wire type");
    }
    if (used > left)
        return refuse(self, message->at, "MALFORMED_MESSAGE", "the message ends inside a field");
    *end = message->at + used;
    return STATUS_OK;
}

static status_code scan_unknown(scanner *self, frame *message, const uint8_t *begin, const uint8_t *end) {
    if (self->strict)
        return refuse(self, begin, "NOT_CANONICAL", "a signed payload has an unknown field");
    message->at = end;
    return charge(self, rounded(sizeof(ProtobufCMessageUnknownField)) + rounded((size_t)(end - begin)));
}

/* `begin` is after the tag, message->at at the content, which `end` ends. */
static status_code check_form(scanner *self, frame *message, const ProtobufCFieldDescriptor *field,
                              const uint8_t *begin, const uint8_t *end) {
    const uint8_t *content = message->at;
    bool prefixed = content != begin;
    bool canonical = canonical_order(field, message->last) &&
                     (!prefixed || canonical_varint(begin, (size_t)(content - begin))) &&
                     canonical_field(field, prefixed, content, (size_t)(end - content));
    message->last = field->id;
    return canonical ? STATUS_OK : refuse_form(self, message, field);
}

/* In a signed payload a singular field, or a oneof, may occur once. */
static status_code check_single(scanner *self, frame *message, const ProtobufCFieldDescriptor *field) {
    if (field->label == PROTOBUF_C_LABEL_REPEATED || message->hint >= SEEN_FIELDS)
        return STATUS_OK;
    bool before = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0
                      ? oneof_seen(message, field)
                      : (message->seen >> message->hint & 1U) != 0;
    return before ? refuse_field(self, message, field, "NOT_CANONICAL", "occurs twice in a signed payload")
                  : STATUS_OK;
}

static status_code scan_known(scanner *self, frame *message, const ProtobufCFieldDescriptor *field,
                              unsigned wire_type, const uint8_t *begin, const uint8_t *end) {
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    bool fits = wire_type == wire_type_of(field->type) ||
                (repeated && wire_type == WIRE_LENGTH && is_packable(field->type));
    if (!fits)
        return refuse_field(self, message, field, "WIRE_TYPE_MISMATCH",
                            "has the wire type of another kind of field");
    if (self->strict) {
        status_code code = check_single(self, message, field);
        if (code == STATUS_OK)
            code = check_form(self, message, field, begin, end);
        if (code != STATUS_OK)
            return code;
    }
    if (wire_type == WIRE_LENGTH)
        return scan_length_prefixed(self, message, field, end);
    message->at = end;
    if (repeated)
        return charge_array(self, message, field, 1);
    mark_seen(message);
    return STATUS_OK;
}

static status_code scan_field(scanner *self, frame *message) {
    uint64_t tag;
    size_t used = read_varint(message->at, message->end, TAG_BYTES, &tag);
    if (used == 0 || tag >> 3 == 0)
        return refuse(self, message->at, "MALFORMED_MESSAGE", "there is no valid tag");
    if (tag > UINT32_MAX) /* some parsers drop the bits beyond, protobuf-c does not */
        return refuse(self, message->at, "TAG_OUT_OF_RANGE", "there is a tag of more than 32 bits");
    status_code code = count_elements(self, 1);
    if (code != STATUS_OK)
        return code;
    if (self->strict && !canonical_varint(message->at, used))
        return refuse(self, message->at, "NOT_CANONICAL", "a signed payload has a tag longer than needed");
    message->at += used;
    const uint8_t *begin = message->at;
    const uint8_t *end = message->end;
    code = value_end(self, message, tag & 7U, &end);
    if (code != STATUS_OK)
        return code;
    const ProtobufCFieldDescriptor *field = field_find(message, (uint32_t)(tag >> 3));
    if (field == NULL)
        return scan_unknown(self, message, begin, end);
    return scan_known(self, message, field, tag & 7U, begin, end);
}

/* Adds this message's own slabs, beyond the one on the stack, to those in use at once. Slabs of no class that
 * is used again are returned as bytes. */
static size_t add_slabs(frame *message) {
    size_t size = 0;
    size_t slab = SLAB_MEMBERS_ON_STACK;
    unsigned class = 0;
    for (size_t room = slab; room < message->members; room += slab, class ++) {
        slab *= 2;
        if (class < SLAB_CLASSES)
            message->slabs[class]++;
        else
            size += rounded(slab * SLAB_MEMBER_BYTES);
    }
    if (class > message->classes)
        message->classes = class < SLAB_CLASSES ? class : SLAB_CLASSES;
    return size;
}

static size_t slabs_size(const frame *message) {
    size_t size = 0;
    for (unsigned i = 0; i < message->classes; i++)
        size += message->slabs[i] * rounded((size_t)SLAB_BYTES_LEAST << i);
    return size;
}

static status_code scan_message(scanner *self, frame *message) {
    size_t required_bitmap = (message->type->n_fields + 7U) / 8U;
    size_t size = rounded(message->type->sizeof_message);
    if (message->type->n_fields > REQUIRED_ON_STACK)
        size += rounded(required_bitmap);
    status_code code = charge(self, size);
    while (code == STATUS_OK && message->at < message->end) {
        code = scan_field(self, message);
        message->members++;
    }
    return code == STATUS_OK ? charge(self, add_slabs(message)) : code;
}

wire_limits wire_limits_for(size_t wire_size) {
    size_t room = wire_size > SIZE_MAX / LIMIT_ARENA_FACTOR ? SIZE_MAX : wire_size * LIMIT_ARENA_FACTOR;
    return (wire_limits){
        .depth = LIMIT_MESSAGE_DEPTH,
        .elements = LIMIT_MESSAGE_ELEMENTS,
        .arena_bytes = room < LIMIT_ARENA_BASE_BYTES ? LIMIT_ARENA_BASE_BYTES : room,
    };
}

status_code wire_scan_as(const ProtobufCMessageDescriptor *type, bytes wire, const wire_limits *limits,
                         bool strict, failure *why) {
    static const uint8_t nothing[1];
    const uint8_t *start = wire.data == NULL ? nothing : wire.data;
    scanner self = {.start = start, .limits = limits, .strict = strict, .why = why};
    frame outermost = {.type = type, .at = start, .end = start + wire.size, .depth = 1};
    status_code code = scan_message(&self, &outermost);
    return code == STATUS_OK ? charge(&self, slabs_size(&outermost)) : code;
}

status_code wire_scan(const ProtobufCMessageDescriptor *type, bytes wire, const wire_limits *limits,
                      failure *why) {
    return wire_scan_as(type, wire, limits, false, why);
}
