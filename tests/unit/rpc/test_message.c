/* Messages as they come from the transport: in one piece or many, compressed, and compressed with bad intent.
 */
#include <grpc/slice.h>
#include <zlib.h>

#include "base/limits.h"
#include "message.h"
#include "rpc_test.h"

static grpc_byte_buffer *wrap(const void *data, size_t size, grpc_compression_algorithm algorithm) {
    grpc_slice slice = grpc_slice_from_copied_buffer(data, size);
    grpc_byte_buffer *wire = algorithm == GRPC_COMPRESS_NONE
                                 ? grpc_raw_byte_buffer_create(&slice, 1)
                                 : grpc_raw_compressed_byte_buffer_create(&slice, 1, algorithm);
    grpc_slice_unref(slice);
    return wire;
}

/* As gzip (window bits 15 + 16) or in the zlib format (15). */
static size_t deflate_all(const void *data, size_t size, int window_bits, uint8_t *out, size_t room) {
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)size};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_out = out;
    stream.avail_out = (uInt)room;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    return room - stream.avail_out;
}

static status_code read_back(const void *data, size_t size, grpc_compression_algorithm algorithm, char *verb,
                             failure *why) {
    arena memory;
    arena_init(&memory, 1024, 32U << 20);
    grpc_byte_buffer *wire = wrap(data, size, algorithm);
    ProtobufCMessage *message;
    status_code code = message_read(&request_type, wire, LIMIT_MESSAGE_BYTES, &memory, &message, why);
    if (code == STATUS_OK)
        snprintf(verb, 64, "%s", ((recall_request *)message)->verb);
    grpc_byte_buffer_destroy(wire);
    arena_free(&memory);
    return code;
}

static void in_pieces(void **state) {
    (void)state;
    recall_request request = RECALL_REQUEST_INIT;
    request.verb = (char *)(uintptr_t) "deploy";
    uint8_t packed[64];
    size_t size = protobuf_c_message_pack(&request.base, packed);
    grpc_slice slices[64];
    for (size_t i = 0; i < size; i++)
        slices[i] = grpc_slice_from_copied_buffer((char *)&packed[i], 1);
    grpc_byte_buffer *wire = grpc_raw_byte_buffer_create(slices, size);
    arena memory;
    arena_init(&memory, 1024, 1U << 20);
    ProtobufCMessage *message;
    failure why = {0};
    must(message_read(&request_type, wire, size, &memory, &message, &why), &why);
    assert_string_equal(((recall_request *)message)->verb, "deploy");
    assert_int_equal(message_read(&request_type, wire, size - 1, &memory, &message, &why),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(message_read(&request_type, NULL, size, &memory, &message, &why),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "MESSAGE_MISSING");
    grpc_byte_buffer_destroy(wire);
    for (size_t i = 0; i < size; i++)
        grpc_slice_unref(slices[i]);
    arena_free(&memory);
}

static void compressed(void **state) {
    (void)state;
    recall_request request = RECALL_REQUEST_INIT;
    request.verb = (char *)(uintptr_t) "deploy";
    uint8_t plain[64], packed[256];
    size_t size = protobuf_c_message_pack(&request.base, plain);
    char verb[64] = "";
    failure why = {0};
    size_t packed_size = deflate_all(plain, size, 15 + 16, packed, sizeof packed);
    must(read_back(packed, packed_size, GRPC_COMPRESS_GZIP, verb, &why), &why);
    assert_string_equal(verb, "deploy");
    for (size_t cut = 0; cut < packed_size; cut++) {
        assert_int_equal(read_back(packed, cut, GRPC_COMPRESS_GZIP, verb, &why), STATUS_INVALID_ARGUMENT);
        assert_string_equal(why.reason, "COMPRESSION_MALFORMED");
    }
    packed[packed_size] = 0; /* something after the end */
    assert_int_equal(read_back(packed, packed_size + 1, GRPC_COMPRESS_GZIP, verb, &why),
                     STATUS_INVALID_ARGUMENT);
    packed_size = deflate_all(plain, size, 15, packed, sizeof packed);
    must(read_back(packed, packed_size, GRPC_COMPRESS_DEFLATE, verb, &why), &why);
    packed_size = deflate_all(plain, 0, 15 + 16, packed, sizeof packed);
    must(read_back(packed, packed_size, GRPC_COMPRESS_GZIP, verb, &why), &why);
    assert_string_equal(verb, "");
    assert_int_equal(read_back(plain, size, GRPC_COMPRESS_GZIP, verb, &why), STATUS_INVALID_ARGUMENT);
}

/* 64 KB that would be 64 MB. */
static void a_bomb(void **state) {
    (void)state;
    size_t size = 64U << 20, room = 1U << 20;
    void *zeros = calloc(1, size);
    uint8_t *packed = malloc(room);
    size_t packed_size = deflate_all(zeros, size, 15 + 16, packed, room);
    assert_true(packed_size < 100000);
    failure why = {0};
    char verb[64];
    assert_int_equal(read_back(packed, packed_size, GRPC_COMPRESS_GZIP, verb, &why),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(why.reason, "MESSAGE_TOO_LARGE");
    free(packed);
    free(zeros);
}

int main(void) {
    grpc_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(compressed),
        cmocka_unit_test(a_bomb),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    grpc_shutdown_blocking();
    return failed;
}
