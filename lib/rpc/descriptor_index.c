/* Names and symbols of an embedded FileDescriptorSet. A small walker over the wire format reads what
 * reflection needs, so that descriptor.proto itself needs no generated code. */
#include <stdlib.h>
#include <string.h>

#include "reflection.h"

#define SYMBOLS_MAX 16384U
#define NESTING_MAX 32U
#define IMPORTS_MAX 64U

typedef struct descriptor_file {
    bytes raw, name, package;
    bytes imports[IMPORTS_MAX];
    size_t import_count;
} descriptor_file;

typedef struct symbol {
    const char *name;
    uint16_t file;
} symbol;

struct descriptor_index {
    arena memory;
    descriptor_file files[DESCRIPTOR_FILES_MAX];
    size_t file_count;
    symbol *symbols; /* sorted by name */
    size_t symbol_count, symbol_room;
};

/* ---- the wire format ---- */

typedef struct wire_field {
    uint32_t number;
    bytes content; /* of length-delimited fields, else empty */
} wire_field;

static bool read_varint(bytes *rest, uint64_t *out) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && rest->size > 0; shift += 7) {
        uint8_t byte = *rest->data;
        rest->data++;
        rest->size--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *out = value;
            return true;
        }
    }
    return false;
}

static bool skip(bytes *rest, uint64_t size) {
    if (size > rest->size)
        return false;
    rest->data += size;
    rest->size -= (size_t)size;
    return true;
}

static bool read_field(bytes *rest, wire_field *out) {
    uint64_t tag, value;
    if (!read_varint(rest, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX)
        return false;
    *out = (wire_field){.number = (uint32_t)(tag >> 3)};
    switch (tag & 7) {
    case 0:
        return read_varint(rest, &value);
    case 1:
        return skip(rest, 8);
    case 5:
        return skip(rest, 4);
    case 2:
        if (!read_varint(rest, &value))
            return false;
        out->content = bytes_of(rest->data, (size_t)value);
        return skip(rest, value);
    default:
        return false;
    }
}

/* ---- symbols ---- */

static bool add_symbol(descriptor_index *self, const char *name, size_t file) {
    if (self->symbol_count == self->symbol_room) {
        size_t room = self->symbol_room == 0 ? 512 : self->symbol_room * 2;
        symbol *more = room > SYMBOLS_MAX ? NULL : realloc(self->symbols, room * sizeof *more);
        if (more == NULL)
            return false;
        self->symbols = more;
        self->symbol_room = room;
    }
    self->symbols[self->symbol_count++] = (symbol){.name = name, .file = (uint16_t)file};
    return true;
}

/* "scope.name" of the message whose field 1 is its name; NULL when it is malformed. */
static const char *qualified(descriptor_index *self, const char *scope, bytes message) {
    wire_field field;
    while (message.size > 0 && read_field(&message, &field))
        if (field.number == 1)
            return scope[0] == '\0' ? arena_format(&self->memory, "%.*s", (int)field.content.size,
                                                   (const char *)field.content.data)
                                    : arena_format(&self->memory, "%s.%.*s", scope, (int)field.content.size,
                                                   (const char *)field.content.data);
    return NULL;
}

typedef struct nested_kinds {
    uint32_t messages, enums, methods; /* field numbers; 0: none */
} nested_kinds;

static bool walk(descriptor_index *self, const char *scope, bytes message, size_t file, nested_kinds kinds,
                 unsigned depth) {
    static const nested_kinds in_message = {.messages = 3, .enums = 4}, in_leaf = {0};
    const char *name = qualified(self, scope, message);
    if (name == NULL || depth > NESTING_MAX || !add_symbol(self, name, file))
        return false;
    wire_field field;
    while (message.size > 0) {
        if (!read_field(&message, &field))
            return false;
        bool ok = true;
        if (field.number == kinds.messages)
            ok = walk(self, name, field.content, file, in_message, depth + 1);
        else if (field.number == kinds.enums || field.number == kinds.methods)
            ok = walk(self, name, field.content, file, in_leaf, depth + 1);
        if (!ok)
            return false;
    }
    return true;
}

static bool read_names(descriptor_file *file, bytes rest) {
    wire_field field;
    while (rest.size > 0) {
        if (!read_field(&rest, &field))
            return false;
        if (field.number == 1)
            file->name = field.content;
        else if (field.number == 2)
            file->package = field.content;
        else if (field.number == 3 && file->import_count < IMPORTS_MAX)
            file->imports[file->import_count++] = field.content;
    }
    return file->name.size > 0;
}

static bool read_file(descriptor_index *self, bytes raw) {
    static const nested_kinds message = {.messages = 3, .enums = 4}, leaf = {0}, service = {.methods = 2};
    if (self->file_count == DESCRIPTOR_FILES_MAX)
        return false;
    size_t number = self->file_count++;
    descriptor_file *file = &self->files[number];
    file->raw = raw;
    if (!read_names(file, raw))
        return false;
    const char *package = arena_format(&self->memory, "%.*s", (int)file->package.size,
                                       file->package.size > 0 ? (const char *)file->package.data : "");
    wire_field field;
    for (bytes rest = raw; package != NULL && rest.size > 0;) {
        if (!read_field(&rest, &field))
            return false;
        bool ok = true;
        if (field.number == 4)
            ok = walk(self, package, field.content, number, message, 1);
        else if (field.number == 5)
            ok = walk(self, package, field.content, number, leaf, 1);
        else if (field.number == 6)
            ok = walk(self, package, field.content, number, service, 1);
        if (!ok)
            return false;
    }
    return package != NULL;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const symbol *)a)->name, ((const symbol *)b)->name);
}

static bool read_set(descriptor_index *self, bytes rest) {
    wire_field field;
    while (rest.size > 0)
        if (!read_field(&rest, &field) || (field.number == 1 && !read_file(self, field.content)))
            return false;
    if (self->symbol_count > 0)
        qsort(self->symbols, self->symbol_count, sizeof *self->symbols, by_name);
    return true;
}

status_code descriptor_index_make(descriptor_index **out, bytes set, failure *why) {
    descriptor_index *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY",
                    "no memory for the index of descriptors");
    arena_init(&self->memory, 65536, 16U << 20);
    if (!read_set(self, set)) {
        descriptor_index_free(self);
        return fail(why, STATUS_INTERNAL, "DESCRIPTORS_MALFORMED",
                    "the embedded descriptor set cannot be read; rebuild");
    }
    *out = self;
    return STATUS_OK;
}

void descriptor_index_free(descriptor_index *self) {
    if (self == NULL)
        return;
    arena_free(&self->memory);
    free(self->symbols);
    free(self);
}

/* ---- looking up ---- */

size_t descriptor_index_files(const descriptor_index *self) {
    return self->file_count;
}

bytes descriptor_index_file(const descriptor_index *self, size_t file) {
    return self->files[file].raw;
}

static int file_named(const descriptor_index *self, bytes name) {
    for (size_t i = 0; i < self->file_count; i++)
        if (bytes_equal(self->files[i].name, name))
            return (int)i;
    return -1;
}

int descriptor_index_by_name(const descriptor_index *self, const char *name) {
    return file_named(self, bytes_of_text(name));
}

int descriptor_index_by_symbol(const descriptor_index *self, const char *name) {
    symbol wanted = {.name = name};
    const symbol *found = self->symbol_count == 0 ? NULL
                                                  : bsearch(&wanted, self->symbols, self->symbol_count,
                                                            sizeof *self->symbols, by_name);
    return found == NULL ? -1 : found->file;
}

size_t descriptor_index_closure(const descriptor_index *self, int file, uint16_t *out) {
    bool seen[DESCRIPTOR_FILES_MAX] = {false};
    size_t count = 0;
    out[count++] = (uint16_t)file;
    seen[file] = true;
    for (size_t i = 0; i < count; i++) {
        const descriptor_file *from = &self->files[out[i]];
        for (size_t k = 0; k < from->import_count; k++) {
            int imported = file_named(self, from->imports[k]);
            if (imported >= 0 && !seen[imported]) {
                seen[imported] = true;
                out[count++] = (uint16_t)imported;
            }
        }
    }
    return count;
}
