/* Streams of JSON objects. */
#include "json_stream.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/chance.h"
#include "test.h"

static FILE *file_of(const char *text, size_t size) {
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    rewind(file);
    assert_int_equal(lseek(fileno(file), 0, SEEK_SET), 0);
    return file;
}

/* The pieces, a line each, with their line numbers; then how it ended. */
static void cut(const char *text, size_t size, bool unwrap, buffer *out) {
    FILE *file = file_of(text, size);
    json_stream *stream = json_stream_new(file, unwrap);
    for (;;) {
        json_piece piece;
        failure why = {0};
        bool more = false;
        bool skipped = false;
        status_code code = json_stream_next(stream, &piece, &more, &skipped, &why);
        if (code != STATUS_OK)
            buffer_format(out, "! %s\n", why.message);
        else if (more)
            buffer_format(out, "%llu %.*s\n", (unsigned long long)piece.line, (int)piece.text.size,
                          piece.text.data);
        if ((code != STATUS_OK && !skipped) || (code == STATUS_OK && !more))
            break;
    }
    json_stream_free(stream);
    fclose(file);
}

static void streams_are_cut_into_objects(void **state) {
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", ""},
        {" \n\t", ""},
        {"{}", "1 {}\n"},
        {"{\"a\":1}\n{\"b\":[{}]}{\"c\":\"}\"}", "1 {\"a\":1}\n2 {\"b\":[{}]}\n2 {\"c\":\"}\"}\n"},
        {"{\"a\":\"\\\"{\"}\n\n{}", "1 {\"a\":\"\\\"{\"}\n3 {}\n"},
        {"[{\"a\":1},\n{\"b\":2}]{}", "1 {\"a\":1}\n2 {\"b\":2}\n2 {}\n"},
        {"[]\n{}", "2 {}\n"},
        {"{\"apiVersion\": \"v1\",\n \"items\" : [ {\"x\":1} ,\n{\"items\":[1]}\n], \"kind\": \"List\", "
         "\"m\": {\"items\":[{}]}}\n{\"z\":0}",
         "2 {\"x\":1}\n3 {\"items\":[1]}\n5 {\"z\":0}\n"},
        {"{\"items\":[]}{\"a\":1}", "1 {\"a\":1}\n"},
        {"{\"items\":3}", "1 {\"items\":3}\n"},
        {"{\"a\":\"items\"}", "1 {\"a\":\"items\"}\n"},
        {"{\"a\":{\"items\":[{}]}}", "1 {\"a\":{\"items\":[{}]}}\n"},
        {"{\"a\":1}\n{\"b\":", "1 {\"a\":1}\n! line 2: the stream ends inside an object\n"},
        {"{}\n7", "1 {}\n! line 2: an object is wanted here\n"},
        {"{\"a\":[}", "! line 1: brackets do not match\n"},
        {"{\"a\":\"x\ny\"}", "! line 2: a text does not end\n"},
        {"{\"items\":[7]}", "! line 1: an element of the list is no object\n"},
        {"{\"items\":[{}", "1 {}\n! line 1: the stream ends inside a list\n"},
        {"{\"items\":[{}],\"a\":", "1 {}\n! line 1: the stream ends inside a list\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buffer out;
        buffer_init(&out, 1U << 20);
        cut(cases[i].text, strlen(cases[i].text), true, &out);
        assert_string_equal(out.size > 0 ? out.data : "", cases[i].expected);
        buffer_free(&out);
    }
}

static void lists_stay_whole_unless_asked(void **state) {
    buffer out;
    (void)state;
    buffer_init(&out, 1U << 20);
    cut("{\"items\":[{}]}", 14, false, &out);
    assert_string_equal(out.data, "1 {\"items\":[{}]}\n");
    buffer_free(&out);
}

static void too_large_an_object_is_left_out(void **state) {
    buffer text;
    buffer out;
    (void)state;
    buffer_init(&text, 8U << 20);
    buffer_init(&out, 1U << 20);
    buffer_format(&text, "{\"a\":\"%0*d\"}\n{\"b\":1}", (int)JSON_STREAM_OBJECT_BYTES, 0);
    cut(text.data, text.size, true, &out);
    assert_non_null(strstr(out.data, "! line 1: an object of more than"));
    assert_non_null(strstr(out.data, "\n2 {\"b\":1}\n"));
    buffer_free(&text);
    buffer_free(&out);
}

static void depth_is_bounded(void **state) {
    char text[2000] = "{\"a\":";
    buffer out;
    (void)state;
    memset(text + 5, '[', 1000);
    buffer_init(&out, 1U << 20);
    cut(text, 1005, true, &out);
    assert_string_equal(out.data, "! line 1: nested too deep\n");
    buffer_free(&out);
}

/* Whatever comes, it ends, and never reads out of bounds. */
static void any_bytes_end(void **state) {
    static const char letters[] = "{}[]\",:\\ \nitems1";
    simulated_chance seed;
    (void)state;
    simulated_chance_init(&seed, 3);
    for (size_t round = 0; round < 2000; round++) {
        char text[64];
        buffer out;
        chance_random(&seed.chance, (uint8_t *)text, sizeof text);
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = letters[(uint8_t)text[i] % (sizeof letters - 1)];
        text[0] = '{';
        buffer_init(&out, 1U << 20);
        cut(text, sizeof text, true, &out);
        assert_true(out.size > 0);
        buffer_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_are_cut_into_objects),
        cmocka_unit_test(lists_stay_whole_unless_asked),
        cmocka_unit_test(too_large_an_object_is_left_out),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(any_bytes_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
