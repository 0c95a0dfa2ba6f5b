/* How the history's statements, states and values stand in the store: variable-length numbers (LEB128, signed
 * ones in zigzag), times as distances from the lot's base. Pure. A decoder takes only what an encoder makes
 * and says false on anything else; what it has filled in by then is not used. */
#ifndef GRAPH_HISTORY_CODEC_H
#define GRAPH_HISTORY_CODEC_H

#include "history.h"

/* A statement about one timeline: over [from, to) it has that value. */
typedef struct statement {
    int64_t from_ms, to_ms; /* to: HISTORY_OPEN */
    int64_t recorded_ms;
    uint32_t timeline;
    uint32_t value; /* value_ref; VALUE_ABSENT */
} statement;

/* Number of a value with the provenance in its lowest three bits, so that merging needs no look at the value.
 */
#define VALUE_ABSENT 0U
#define VALUE_NUMBER_MAX ((1U << 29) - 1)
static inline uint32_t value_ref(uint32_t number, provenance source) {
    return number << 3 | ((uint32_t)source & 7U);
}
static inline uint32_t value_number(uint32_t ref) {
    return ref >> 3;
}
static inline provenance value_provenance(uint32_t ref) {
    return (provenance)(ref & 7U);
}

/* What a timeline says at a seal. */
typedef struct timeline_state {
    int64_t from_ms, recorded_ms;
    uint32_t value;
    bool known; /* somebody has said something */
} timeline_state;

void codec_number(buffer *out, uint64_t value);
void codec_signed(buffer *out, int64_t value);

typedef struct codec_cursor {
    const uint8_t *at, *end;
    bool failed;
} codec_cursor;
codec_cursor codec_open(bytes body);
uint64_t codec_take_long(codec_cursor *self);

/* 0 once it has failed. Most numbers are short, and a snapshot reads a million of them. */
static inline uint64_t codec_take(codec_cursor *self) {
    const uint8_t *at = self->at;
    if (self->end - at >= 3) {
        if (at[0] < 0x80) {
            self->at = at + 1;
            return at[0];
        }
        if (at[1] < 0x80 && at[1] != 0) {
            self->at = at + 2;
            return (uint64_t)(at[0] & 0x7f) | (uint64_t)at[1] << 7;
        }
        if (at[1] >= 0x80 && at[2] < 0x80 && at[2] != 0) {
            self->at = at + 3;
            return (uint64_t)(at[0] & 0x7f) | (uint64_t)(at[1] & 0x7f) << 7 | (uint64_t)at[2] << 14;
        }
    }
    return codec_take_long(self);
}

static inline int64_t codec_take_signed(codec_cursor *self) {
    uint64_t value = codec_take(self);
    return (int64_t)(value >> 1 ^ (0 - (value & 1)));
}

/* Statements: timelines in ascending or any order (the distance is signed), times relative to base_ms. */
void codec_statement(buffer *out, const statement *what, int64_t base_ms, uint32_t *last_timeline);
/* One more statement; false at the end and on a failure. */
bool codec_statement_next(codec_cursor *self, int64_t base_ms, uint32_t *last_timeline, statement *out);

/* States of timelines that follow each other. */
void codec_state(buffer *out, const timeline_state *state, int64_t base_ms);
bool codec_state_next(codec_cursor *self, int64_t base_ms, timeline_state *out);

/* Values: what is said, without who and when. */
void codec_value(buffer *out, provenance source, double confidence, const attribute *attributes,
                 size_t attribute_count);
/* Fills source, confidence and attributes, in the arena. */
bool codec_value_read(bytes body, arena *memory, version *out);

#endif
