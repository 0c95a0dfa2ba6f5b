/* One pass over the bytes; at each word the longest thing that can be masked is looked for first. */
#include "masks.h"

#include "base/limits.h"

#include <string.h>

#define HEX_LEAST 16U
#define NAME_LEAST 3U /* shorter names of services are words too often */

typedef struct masking {
    const texts *services;
    const uint8_t *text;
    size_t size, at;
    masked *out;
    bool open;   /* the last token may grow */
    bool labels; /* since the last token came nothing but one of : and =, and at most one blank */
    size_t gap;  /* bytes since the last token */
    bool full;
} masking;

static bool is_digit(uint8_t value) {
    return value >= '0' && value <= '9';
}

static bool is_letter(uint8_t value) {
    return (value >= 'a' && value <= 'z') || (value >= 'A' && value <= 'Z') || value >= 0x80;
}

static bool is_hex(uint8_t value) {
    return is_digit(value) || (value >= 'a' && value <= 'f') || (value >= 'A' && value <= 'F');
}

static bool is_word(uint8_t value) {
    return is_letter(value) || is_digit(value) || value == '_';
}

static uint8_t byte_at(const masking *self, size_t at) {
    return at < self->size ? self->text[at] : 0;
}

/* ---- Tokens
 * ------------------------------------------------------------------------------------------------------ */

static bool token_begin(masking *self) {
    masked *out = self->out;
    if (out->count == MASK_TOKENS) {
        self->full = true;
        return false;
    }
    if (out->count > 0)
        out->text[out->size++] = ' ';
    out->starts[out->count] = (uint16_t)out->size;
    out->sizes[out->count++] = 0;
    self->open = true;
    return true;
}

static void token_add(masking *self, const char *text, size_t size) {
    if (!self->open && !token_begin(self))
        return;
    masked *out = self->out;
    uint16_t *length = &out->sizes[out->count - 1];
    size_t room = MASK_TOKEN_BYTES - 1 - *length;
    size = size < room ? size : room;
    memcpy(out->text + out->size, text, size);
    out->size += size;
    *length = (uint16_t)(*length + size);
    self->labels = false;
    self->gap = 0;
}

static void token_end(masking *self, uint8_t by) {
    self->open = false;
    self->gap++;
    self->labels = self->gap == 1 ? by == ':' || by == '=' : self->labels && self->gap == 2 && by == ' ';
}

/* The label of an id goes with it. */
static void label_drop(masking *self) {
    masked *out = self->out;
    if (!self->labels || out->count == 0)
        return;
    out->count--;
    out->size = out->starts[out->count];
    if (out->count > 0)
        out->size--;
    self->labels = false;
}

/* ---- What is masked
 * ----------------------------------------------------------------------------------------------- */

/* Matches a pattern of d (figure) and literal bytes; its length or 0. */
static size_t digits_match(const masking *self, size_t at, const char *pattern) {
    size_t i = 0;
    for (; pattern[i] != '\0'; i++) {
        uint8_t value = byte_at(self, at + i);
        if (pattern[i] == 'd'   ? !is_digit(value)
            : pattern[i] == 'T' ? value != 'T' && value != ' '
                                : value != (uint8_t)pattern[i])
            return 0;
    }
    return i;
}

/* A date with a time, or a time of day, with what may follow its seconds. */
static size_t time_match(const masking *self) {
    size_t length = digits_match(self, self->at, "dddd-dd-ddTdd:dd:dd");
    if (length == 0)
        length = digits_match(self, self->at, "dd:dd:dd");
    if (length == 0)
        return 0;
    while (is_digit(byte_at(self, self->at + length)) ||
           ((byte_at(self, self->at + length) == '.' || byte_at(self, self->at + length) == ',') &&
            is_digit(byte_at(self, self->at + length + 1))))
        length++;
    return byte_at(self, self->at + length) == 'Z' ? length + 1 : length;
}

static size_t uuid_match(const masking *self) {
    static const uint8_t groups[] = {8, 4, 4, 4, 12};
    size_t length = 0;
    for (size_t i = 0; i < sizeof groups; i++) {
        for (uint8_t j = 0; j < groups[i]; j++)
            if (!is_hex(byte_at(self, self->at + length++)))
                return 0;
        if (i + 1 < sizeof groups && byte_at(self, self->at + length++) != '-')
            return 0;
    }
    return length;
}

static size_t hex_match(const masking *self) {
    size_t length = 0;
    while (is_hex(byte_at(self, self->at + length)))
        length++;
    return length >= HEX_LEAST && !is_word(byte_at(self, self->at + length)) ? length : 0;
}

/* The longest known name that begins here and ends with a word. */
static size_t service_match(const masking *self) {
    size_t best = 0;
    if (self->services == NULL || self->services->count == 0)
        return 0;
    for (size_t length = 0; length < LIMIT_NAME_BYTES;) {
        while (is_word(byte_at(self, self->at + length)))
            length++;
        if (length >= NAME_LEAST && length < LIMIT_NAME_BYTES &&
            texts_find(self->services, 0, bytes_of(self->text + self->at, length)) != TEXTS_NONE)
            best = length;
        uint8_t joint = byte_at(self, self->at + length);
        if ((joint != '-' && joint != '.') || !is_word(byte_at(self, self->at + length + 1)))
            break;
        length++;
    }
    return best;
}

/* ---- Words
 * ----------------------------------------------------------------------------------------------------------
 */

static bool word_mask(masking *self) {
    size_t length = is_digit(byte_at(self, self->at)) ? time_match(self) : 0;
    if (length > 0) {
        token_add(self, "<time>", 6);
        self->at += length;
        return true;
    }
    if (is_hex(byte_at(self, self->at))) {
        length = uuid_match(self);
        if (length == 0 && (length = hex_match(self)) > 0) {
            label_drop(self);
            self->at += length;
            self->open = false;
            self->gap = 0;
            return true;
        }
        if (length > 0)
            token_add(self, "<id>", 4);
    }
    if (length == 0 && (length = service_match(self)) > 0)
        token_add(self, "<service>", 9);
    self->at += length;
    return length > 0;
}

/* The rest of the word as it is, runs of figures as one 0. */
static void word_copy(masking *self) {
    while (is_word(byte_at(self, self->at)) && !self->full) {
        if (is_digit(byte_at(self, self->at))) {
            token_add(self, "0", 1);
            while (is_digit(byte_at(self, self->at)))
                self->at++;
        } else {
            size_t start = self->at;
            while (is_word(byte_at(self, self->at)) && !is_digit(byte_at(self, self->at)))
                self->at++;
            token_add(self, (const char *)self->text + start, self->at - start);
        }
    }
}

static bool joins_token(uint8_t value) {
    return value == '#' || value == '.' || value == '<' || value == '>';
}

void mask_message(const texts *services, bytes message, masked *out) {
    masking self = {.services = services,
                    .text = message.data,
                    .size = message.size < MASK_LOOKED_AT ? message.size : MASK_LOOKED_AT,
                    .out = out};
    out->size = 0;
    out->count = 0;
    while (self.at < self.size && !self.full) {
        uint8_t value = self.text[self.at];
        if (is_word(value)) {
            if (!word_mask(&self))
                word_copy(&self);
        } else if (joins_token(value)) {
            token_add(&self, (const char *)&value, 1);
            self.at++;
        } else {
            token_end(&self, value);
            self.at++;
        }
    }
    out->text[out->size] = '\0';
}
