/* Cutting a stream of JSON into objects: only brackets, strings and the name "items" are looked at; what is
 * inside an object is for its reader to judge. */
#include "json_stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES 65536U
#define NAME_BYTES 8U

/* Where the next character stands. */
typedef enum place {
    PLACE_TOP,   /* between objects */
    PLACE_ITEMS, /* in an array whose elements are the objects */
    PLACE_AFTER, /* in a list's object, behind its items */
} place;

struct json_stream {
    FILE *file;
    bool unwrap, over;
    char *buffer;
    size_t at, size;
    uint64_t line, total;
    place place;
    bool items_in_object; /* the array of PLACE_ITEMS is a member of an object */
    char *piece;
    size_t piece_size, piece_room;
    bool too_large;
};

json_stream *json_stream_new(FILE *file, bool unwrap) {
    json_stream *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->file = file;
    self->unwrap = unwrap;
    self->line = 1;
    self->buffer = malloc(BUFFER_BYTES);
    if (self->buffer == NULL) {
        json_stream_free(self);
        return NULL;
    }
    return self;
}

void json_stream_free(json_stream *self) {
    if (self == NULL)
        return;
    free(self->buffer);
    free(self->piece);
    free(self);
}

uint64_t json_stream_bytes(const json_stream *self) {
    return self->total;
}

/* ---- Characters */

/* The next character, or EOF. What has arrived is handed on at once, also from a pipe that stays open. */
static int peek(json_stream *self) {
    if (self->at == self->size) {
        ssize_t got = 0;
        do
            got = read(fileno(self->file), self->buffer, BUFFER_BYTES);
        while (got < 0 && errno == EINTR);
        if (got <= 0)
            return EOF;
        self->at = 0;
        self->size = (size_t)got;
    }
    return (unsigned char)self->buffer[self->at];
}

static int take(json_stream *self) {
    int c = peek(self);
    if (c == EOF)
        return c;
    self->at++;
    self->total++;
    self->line += c == '\n';
    return c;
}

static int peek_word(json_stream *self) {
    int c = peek(self);
    while (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        (void)take(self);
        c = peek(self);
    }
    return c;
}

/* ---- Pieces */

static void piece_begin(json_stream *self) {
    self->piece_size = 0;
    self->too_large = false;
}

/* What is beyond the bound is read and forgotten. */
static status_code piece_add(json_stream *self, int c, failure *why) {
    if (self->too_large)
        return STATUS_OK;
    if (self->piece_size == JSON_STREAM_OBJECT_BYTES) {
        self->too_large = true;
        return STATUS_OK;
    }
    if (self->piece_size == self->piece_room) {
        size_t room = self->piece_room == 0 ? 4096 : self->piece_room * 2;
        char *more = realloc(self->piece, room);
        if (more == NULL)
            return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for an object");
        self->piece = more;
        self->piece_room = room;
    }
    self->piece[self->piece_size++] = (char)c;
    return STATUS_OK;
}

static status_code broken(json_stream *self, const char *what, failure *why) {
    self->over = true;
    return fail(why, STATUS_INVALID_ARGUMENT, "BAD_JSON", "line %llu: %s", (unsigned long long)self->line,
                what);
}

/* The rest of a string whose first quote was taken; its first bytes go to `name`. */
static status_code string_take(json_stream *self, char name[NAME_BYTES], failure *why) {
    size_t used = 0;
    for (;;) {
        int c = take(self);
        if (c == EOF || c == '\n')
            return broken(self, "a text does not end", why);
        status_code code = piece_add(self, c, why);
        if (code != STATUS_OK)
            return code;
        if (c == '"')
            break;
        if (used + 1 < NAME_BYTES)
            name[used++] = (char)c;
        if (c != '\\')
            continue;
        c = take(self);
        if (c == EOF)
            return broken(self, "a text does not end", why);
        code = piece_add(self, c, why);
        if (code != STATUS_OK)
            return code;
    }
    name[used] = '\0';
    return STATUS_OK;
}

/* Behind a string at the first level of an object: is it the name "items", and an array follows? */
static bool items_follow(json_stream *self, const char *name) {
    if (!self->unwrap || strcmp(name, "items") != 0 || peek_word(self) != ':')
        return false;
    (void)take(self);
    if (peek_word(self) == '[') {
        (void)take(self);
        return true;
    }
    return false;
}

/* Takes an object whose first bracket is next. *list: it turned out to be a list, and its items are next. */
static status_code object_take(json_stream *self, bool top, bool *list, failure *why) {
    char closing[JSON_STREAM_DEPTH];
    size_t depth = 0;
    *list = false;
    do {
        char name[NAME_BYTES];
        int c = take(self);
        if (c == EOF)
            return broken(self, "the stream ends inside an object", why);
        status_code code = piece_add(self, c, why);
        if (code == STATUS_OK && c == '"') {
            code = string_take(self, name, why);
            if (code == STATUS_OK && self->unwrap && top && depth == 1 && strcmp(name, "items") == 0 &&
                peek_word(self) == ':') {
                if (items_follow(self, name)) {
                    *list = true;
                    return STATUS_OK;
                }
                code = piece_add(self, ':', why);
            }
        } else if (c == '{' || c == '[') {
            if (depth == JSON_STREAM_DEPTH)
                return broken(self, "nested too deep", why);
            closing[depth++] = c == '{' ? '}' : ']';
        } else if (c == '}' || c == ']') {
            if (depth == 0 || closing[--depth] != c)
                return broken(self, "brackets do not match", why);
        }
        if (code != STATUS_OK)
            return code;
    } while (depth > 0);
    return STATUS_OK;
}

/* The members of a list's object behind its items. */
static status_code rest_skip(json_stream *self, failure *why) {
    size_t depth = 1;
    piece_begin(self);
    self->too_large = true; /* nothing of it is kept */
    while (depth > 0) {
        char name[NAME_BYTES];
        int c = take(self);
        if (c == EOF)
            return broken(self, "the stream ends inside a list", why);
        if (c == '"') {
            status_code code = string_take(self, name, why);
            if (code != STATUS_OK)
                return code;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
    }
    self->place = PLACE_TOP;
    return STATUS_OK;
}

static status_code items_step(json_stream *self, failure *why) {
    int c = peek_word(self);
    if (c == ',') {
        (void)take(self);
        c = peek_word(self);
    }
    if (c == ']') {
        (void)take(self);
        self->place = self->items_in_object ? PLACE_AFTER : PLACE_TOP;
    } else if (c != '{') {
        return broken(
            self, c == EOF ? "the stream ends inside a list" : "an element of the list is no object", why);
    }
    return STATUS_OK;
}

static status_code step(json_stream *self, bool *object, failure *why) {
    int c = peek_word(self);
    *object = false;
    switch (self->place) {
    case PLACE_AFTER:
        return rest_skip(self, why);
    case PLACE_ITEMS: {
        status_code code = items_step(self, why);
        *object = code == STATUS_OK && self->place == PLACE_ITEMS;
        return code;
    }
    case PLACE_TOP:
        break;
    }
    if (c == EOF) {
        self->over = true;
        return STATUS_OK;
    }
    if (c == '[' && self->unwrap) {
        (void)take(self);
        self->place = PLACE_ITEMS;
        self->items_in_object = false;
        return STATUS_OK;
    }
    *object = c == '{';
    return *object ? STATUS_OK : broken(self, "an object is wanted here", why);
}

static status_code piece_take(json_stream *self, json_piece *out, bool *got, bool *skipped, failure *why) {
    bool list = false;
    uint64_t line = self->line;
    piece_begin(self);
    status_code code = object_take(self, self->place == PLACE_TOP, &list, why);
    if (code != STATUS_OK)
        return code;
    if (list) {
        self->place = PLACE_ITEMS;
        self->items_in_object = true;
        return STATUS_OK;
    }
    if (self->too_large) {
        *skipped = true;
        return fail(why, STATUS_INVALID_ARGUMENT, "TOO_LARGE", "line %llu: an object of more than %u bytes",
                    (unsigned long long)line, JSON_STREAM_OBJECT_BYTES);
    }
    *out = (json_piece){.text = bytes_of(self->piece, self->piece_size), .line = line};
    *got = true;
    return STATUS_OK;
}

status_code json_stream_next(json_stream *self, json_piece *out, bool *more, bool *skipped, failure *why) {
    status_code code = STATUS_OK;
    bool got = false;
    *more = false;
    *skipped = false;
    while (code == STATUS_OK && !got && !self->over) {
        bool object = false;
        code = step(self, &object, why);
        if (code == STATUS_OK && object)
            code = piece_take(self, out, &got, skipped, why);
    }
    *more = got;
    return code;
}

bool json_stream_waiting(json_stream *self) {
    while (self->at < self->size && strchr(" \t\r\n", self->buffer[self->at]) != NULL &&
           self->buffer[self->at] != '\0')
        (void)take(self);
    struct pollfd one = {.fd = fileno(self->file), .events = POLLIN};
    return self->at == self->size && poll(&one, 1, 0) == 0;
}
