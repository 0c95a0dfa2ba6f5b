/* The history's encodings: statements, states and values out of any bytes, and back to the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "history_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(bytes in, const buffer *out, bool whole) {
    if (whole && buffer_ok(out) && !bytes_equal(in, buffer_bytes(out)))
        abort();
}

static void statements_read(bytes in, buffer *out) {
    codec_cursor cursor = codec_open(in);
    uint32_t last = 7;
    uint32_t made = 7;
    statement what;
    while (codec_statement_next(&cursor, 1700000000000, &last, &what))
        codec_statement(out, &what, 1700000000000, &made);
    again(in, out, !cursor.failed);
}

static void states_read(bytes in, buffer *out) {
    codec_cursor cursor = codec_open(in);
    timeline_state state;
    while (codec_state_next(&cursor, 1700000000000, &state))
        codec_state(out, &state, 1700000000000);
    again(in, out, !cursor.failed);
}

static void value_read(bytes in, buffer *out) {
    arena memory;
    version said = {0};
    arena_init(&memory, 4096, 1U << 20);
    bool good = codec_value_read(in, &memory, &said);
    if (good)
        codec_value(out, said.source, said.confidence, said.attributes, said.attribute_count);
    again(in, out, good);
    arena_free(&memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    buffer out;
    buffer_init(&out, 1U << 20);
    bytes in = bytes_of(data + 1, size - 1);
    if (data[0] % 3 == 0)
        statements_read(in, &out);
    else if (data[0] % 3 == 1)
        states_read(in, &out);
    else
        value_read(in, &out);
    buffer_free(&out);
    return 0;
}
