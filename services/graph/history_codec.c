/* The history's encodings. */
#include "history_codec.h"

#include <string.h>

/* ---- Numbers
 * -------------------------------------------------------------------------------------------------------- */

void codec_number(buffer *out, uint64_t value) {
    uint8_t encoded[10];
    size_t size = 0;
    do {
        encoded[size++] = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value > 0);
    buffer_append(out, encoded, size);
}

void codec_signed(buffer *out, int64_t value) {
    codec_number(out, (uint64_t)value << 1 ^ (uint64_t)(value < 0 ? -1 : 0));
}

codec_cursor codec_open(bytes body) {
    return (codec_cursor){.at = body.data, .end = body.data == NULL ? NULL : body.data + body.size};
}

/* The shortest form alone: the last byte of a longer one would be zero. */
uint64_t codec_take_long(codec_cursor *self) {
    uint64_t value = 0;
    for (unsigned shift = 0; self->at < self->end && shift < 64; shift += 7) {
        uint8_t part = *self->at++;
        if (shift == 63 && part > 1)
            break;
        value |= (uint64_t)(part & 0x7f) << shift;
        if ((part & 0x80) == 0) {
            if (part == 0 && shift > 0)
                break;
            return value;
        }
    }
    self->failed = true;
    self->at = self->end;
    return 0;
}

/* Times lie within what the clock of a computer shows, so that differences cannot overflow; the lowest and
 * the highest stand for themselves. */
#define TIME_MOST (INT64_MAX / 4)

static bool time_fits(int64_t time_ms) {
    return time_ms > -TIME_MOST && time_ms < TIME_MOST;
}

/* ---- Statements
 * ----------------------------------------------------------------------------------------------------- */

void codec_statement(buffer *out, const statement *what, int64_t base_ms, uint32_t *last_timeline) {
    codec_signed(out, (int64_t)what->timeline - (int64_t)*last_timeline);
    codec_number(out, what->value);
    codec_signed(out, what->recorded_ms - base_ms);
    codec_signed(out, what->recorded_ms - what->from_ms);
    codec_number(out, what->to_ms == HISTORY_OPEN ? 0 : (uint64_t)(what->to_ms - what->from_ms));
    *last_timeline = what->timeline;
}

bool codec_statement_next(codec_cursor *self, int64_t base_ms, uint32_t *last_timeline, statement *out) {
    if (self->failed || self->at == self->end)
        return false;
    int64_t step = codec_take_signed(self);
    uint64_t value = codec_take(self);
    int64_t recorded = codec_take_signed(self);
    int64_t behind = codec_take_signed(self);
    uint64_t length = codec_take(self);
    bool fits = !self->failed && step > -(int64_t)UINT32_MAX && step < (int64_t)UINT32_MAX &&
                value <= UINT32_MAX && time_fits(recorded) && time_fits(behind) &&
                length < (uint64_t)TIME_MOST;
    int64_t timeline = fits ? (int64_t)*last_timeline + step : -1;
    if (!fits || timeline < 0 || timeline >= (int64_t)UINT32_MAX) {
        self->failed = true;
        return false;
    }
    out->timeline = *last_timeline = (uint32_t)timeline;
    out->value = (uint32_t)value;
    out->recorded_ms = base_ms + recorded;
    out->from_ms = out->recorded_ms - behind;
    out->to_ms = length == 0 ? HISTORY_OPEN : out->from_ms + (int64_t)length;
    return true;
}

/* ---- States
 * ---------------------------------------------------------------------------------------------------------
 */

void codec_state(buffer *out, const timeline_state *state, int64_t base_ms) {
    codec_number(out, state->known ? (uint64_t)state->value + 1 : 0);
    if (!state->known)
        return;
    codec_signed(out, base_ms - state->recorded_ms);
    codec_signed(out, state->recorded_ms - state->from_ms);
}

bool codec_state_next(codec_cursor *self, int64_t base_ms, timeline_state *out) {
    if (self->failed || self->at == self->end)
        return false;
    uint64_t value = codec_take(self);
    if (value == 0 && !self->failed) {
        *out = (timeline_state){0};
        return true;
    }
    int64_t age = codec_take_signed(self);
    int64_t behind = codec_take_signed(self);
    if (self->failed || value - 1 > UINT32_MAX || !time_fits(age) || !time_fits(behind)) {
        self->failed = true;
        return false;
    }
    *out = (timeline_state){.known = true, .value = (uint32_t)(value - 1), .recorded_ms = base_ms - age};
    out->from_ms = out->recorded_ms - behind;
    return true;
}

/* ---- Values
 * ---------------------------------------------------------------------------------------------------------
 */

static void text_put(buffer *out, const char *text) {
    codec_number(out, strlen(text));
    buffer_append(out, text, strlen(text));
}

static const char *text_take(codec_cursor *self, size_t most, arena *memory) {
    uint64_t size = codec_take(self);
    char *text = NULL;
    if (!self->failed && size < most && size <= (uint64_t)(self->end - self->at) &&
        memchr(self->at, 0, size) == NULL)
        text = arena_alloc(memory, size + 1);
    if (text == NULL) {
        self->failed = true;
        return NULL;
    }
    memcpy(text, self->at, size);
    text[size] = 0;
    self->at += size;
    return text;
}

void codec_value(buffer *out, provenance source, double confidence, const attribute *attributes,
                 size_t attribute_count) {
    codec_number(out, (uint64_t)source);
    buffer_append(out, &confidence, sizeof confidence);
    codec_number(out, attribute_count);
    for (size_t i = 0; i < attribute_count; i++) {
        text_put(out, attributes[i].key);
        text_put(out, attributes[i].value);
    }
}

static bool attributes_take(codec_cursor *self, size_t count, arena *memory, version *out) {
    attribute *items = arena_zero(memory, count + 1, sizeof *items);
    for (size_t i = 0; i < count && items != NULL && !self->failed; i++) {
        items[i].key = text_take(self, HISTORY_KEY_BYTES, memory);
        items[i].value = self->failed ? NULL : text_take(self, HISTORY_ATTRIBUTE_BYTES, memory);
        if (!self->failed && i > 0 && strcmp(items[i - 1].key, items[i].key) >= 0)
            self->failed = true;
    }
    out->attributes = items;
    out->attribute_count = count;
    return items != NULL && !self->failed && self->at == self->end;
}

bool codec_value_read(bytes body, arena *memory, version *out) {
    codec_cursor cursor = codec_open(body);
    uint64_t source = codec_take(&cursor);
    double confidence;
    if (cursor.failed || source < 1 || source > 4 || (size_t)(cursor.end - cursor.at) < sizeof confidence)
        return false;
    memcpy(&confidence, cursor.at, sizeof confidence);
    cursor.at += sizeof confidence;
    uint64_t count = codec_take(&cursor);
    if (cursor.failed || count > HISTORY_ATTRIBUTES_MAX || !(confidence >= 0 && confidence <= 1))
        return false;
    out->source = (provenance)source;
    out->confidence = confidence;
    return attributes_take(&cursor, (size_t)count, memory, out);
}
