/* lib/base: encodings against published vectors, bounds of buffer and arena, clocks, the log's escaping,
 * metrics. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/chance.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/status.h"
#include "test.h"

static void test_failure_keeps_what_happened(void **state) {
    (void)state;
    failure why = {0};
    assert_int_equal(fail(&why, STATUS_NOT_FOUND, "NODE_UNKNOWN", "no node %s", "a"), STATUS_NOT_FOUND);
    assert_string_equal(why.message, "no node a");
    assert_int_equal(fail_within(&why, why.code, "graph %d", 7), STATUS_NOT_FOUND);
    assert_string_equal(why.message, "graph 7: no node a");
    assert_string_equal(why.reason, "NODE_UNKNOWN");
    assert_int_equal(fail_field(&why, "action.verb", "EMPTY", "say what to do"), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.field, "action.verb");
    assert_int_equal(fail(NULL, STATUS_INTERNAL, "X", "nobody listens"), STATUS_INTERNAL);
}

static void test_every_status_has_a_name(void **state) {
    (void)state;
    for (int code = 0; code <= 16; code++)
        assert_string_not_equal(status_name((status_code)code), code == 2 ? "" : "UNKNOWN");
    assert_string_equal(status_name((status_code)99), "UNKNOWN");
    assert_string_equal(status_name(STATUS_PENDING), "PENDING");
}

/* RFC 4648 §10. */
static const struct {
    const char *plain, *standard, *url;
} base64_vectors[] = {
    {"", "", ""},
    {"f", "Zg==", "Zg"},
    {"fo", "Zm8=", "Zm8"},
    {"foo", "Zm9v", "Zm9v"},
    {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    {"\xfb\xff", "+/8=", "-_8"},
};

static void test_base64_vectors(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof base64_vectors / sizeof *base64_vectors; i++) {
        buffer out;
        buffer_init(&out, 100);
        base64_encode(bytes_of_text(base64_vectors[i].plain), &out);
        assert_string_equal(out.size > 0 ? out.data : "", base64_vectors[i].standard);
        buffer_clear(&out);
        base64url_encode(bytes_of_text(base64_vectors[i].plain), &out);
        assert_string_equal(out.size > 0 ? out.data : "", base64_vectors[i].url);
        uint8_t back[16];
        size_t size = sizeof back;
        assert_true(base64_decode(bytes_of_text(base64_vectors[i].standard), back, &size));
        assert_int_equal(size, strlen(base64_vectors[i].plain));
        assert_memory_equal(back, base64_vectors[i].plain, size);
        size = sizeof back;
        assert_true(base64url_decode(bytes_of_text(base64_vectors[i].url), back, &size));
        assert_memory_equal(back, base64_vectors[i].plain, size);
        buffer_free(&out);
    }
}

static void test_base64_refuses_what_is_not_canonical(void **state) {
    (void)state;
    static const char *const bad[] = {
        "Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", " Zg=", "Zm9v\n", "Zm-v", "Zm9v=", "A"};
    uint8_t out[16];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t size = sizeof out;
        assert_false(base64_decode(bytes_of_text(bad[i]), out, &size));
    }
    static const char *const bad_url[] = {"Zg==", "Zh", "A", "Zm+v", "Zm9 "};
    for (size_t i = 0; i < sizeof bad_url / sizeof *bad_url; i++) {
        size_t size = sizeof out;
        assert_false(base64url_decode(bytes_of_text(bad_url[i]), out, &size));
    }
    size_t small = 2;
    assert_false(base64_decode(bytes_of_text("Zm9v"), out, &small));
}

static void test_random_bytes_survive_every_encoding(void **state) {
    (void)state;
    simulated_chance world;
    simulated_chance_init(&world, 7);
    for (size_t size = 0; size < 300; size++) {
        uint8_t plain[300], back[300];
        chance_random(&world.chance, plain, size);
        char hex[601];
        hex_encode(bytes_of(plain, size), hex);
        assert_true(hex_decode(hex, back, size));
        assert_memory_equal(plain, back, size);
        buffer text;
        buffer_init(&text, 1000);
        base64_encode(bytes_of(plain, size), &text);
        size_t room = sizeof back;
        assert_true(base64_decode(buffer_bytes(&text), back, &room));
        assert_int_equal(room, size);
        assert_memory_equal(plain, back, size);
        buffer_free(&text);
    }
    uint8_t out[2] = {9, 9};
    assert_false(hex_decode("0g1", out, 2));
    assert_false(hex_decode("zz00", out, 2));
    assert_int_equal(out[0], 9);
}

static const struct {
    const char *text;
    size_t size;
    bool valid;
} utf8_cases[] = {
    {"plain", 5, true},
    {"\xc3\xa9", 2, true},
    {"\xe2\x82\xac", 3, true},
    {"\xf0\x9f\x98\x80", 4, true},
    {"\xc0\xaf", 2, false},
    {"\xed\xa0\x80", 3, false},
    {"\xf4\x90\x80\x80", 4, false},
    {"\xe2\x82", 2, false},
    {"\x80", 1, false},
    {"a\0b", 3, false},
    {"\xf8\x88\x80\x80\x80", 5, false},
    {"", 0, true},
    {"\xf0\x8f\xbf\xbf", 4, false},
    {"\xe0\x9f\xbf", 3, false},
};

static void test_utf8(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof utf8_cases / sizeof *utf8_cases; i++)
        assert_int_equal(utf8_valid(bytes_of(utf8_cases[i].text, utf8_cases[i].size)), utf8_cases[i].valid);
}

static void test_buffer_is_bounded(void **state) {
    (void)state;
    buffer out;
    buffer_init(&out, 10);
    buffer_text(&out, "12345");
    buffer_format(&out, "%s", "678901");
    assert_false(buffer_ok(&out));
    assert_string_equal(out.data, "12345");
    buffer_text(&out, "6"); /* once failed, nothing is added: the end is checked once */
    assert_int_equal(out.size, 5);
    buffer_clear(&out);
    buffer_format(&out, "%d", 1234567890);
    assert_true(buffer_ok(&out));
    assert_string_equal(out.data, "1234567890");
    buffer_free(&out);
    buffer_free(NULL);
}

static void test_arena_is_bounded_and_aligned(void **state) {
    (void)state;
    arena memory;
    arena_init(&memory, 64, 4096);
    for (int round = 0; round < 3; round++) {
        size_t total = 0;
        for (void *p; (p = arena_alloc(&memory, 100)) != NULL; total += 112) {
            assert_int_equal((uintptr_t)p % 16, 0);
            memset(p, 0xa5, 100);
        }
        assert_in_range(total, 3900, 4096);
        arena_reset(&memory);
    }
    assert_null(arena_alloc(&memory, 5000));
    assert_null(arena_alloc(&memory, SIZE_MAX));
    assert_null(arena_zero(&memory, SIZE_MAX / 2, 3));
    assert_string_equal(arena_format(&memory, "%s-%d", "a", 1), "a-1");
    uint8_t *zeroed = arena_zero(&memory, 3, 5);
    for (size_t i = 0; i < 15; i++)
        assert_int_equal(zeroed[i], 0);
    arena_free(&memory);
    arena_free(NULL);
}

/* Randomness is drawn for several at once, which must not show: not in what is given out, not across a fork.
 */
static void test_randomness_is_never_given_twice(void **state) {
    (void)state;
    enum { COUNT = 400 };
    static uint8_t drawn[COUNT][32];
    uint8_t large[2000] = {0};
    int ends[2];
    for (size_t i = 0; i < COUNT; i++)
        chance_random(chance_system(), drawn[i], i % 2 == 0 ? 32 : 24);
    for (size_t i = 0; i < COUNT; i++)
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(drawn[i], drawn[k], 16);
    chance_random(chance_system(), large, sizeof large);
    assert_memory_not_equal(large + sizeof large - 16, (uint8_t[16]){0}, 16);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    chance_random(chance_system(), drawn[0], 32);
    if (child == 0)
        _exit(write(ends[1], drawn[0], 32) == 32 ? 0 : 1);
    assert_int_equal(read(ends[0], drawn[1], 32), 32);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_memory_not_equal(drawn[0], drawn[1], 32);
    close(ends[0]);
    close(ends[1]);
}

static void test_clocks(void **state) {
    (void)state;
    const chance *source = chance_system();
    uint64_t before = chance_boot_ns(source);
    assert_true(chance_boot_ns(source) >= before);
    assert_true(chance_wall_ms(source) > 1700000000000);
    uint8_t a[16] = {0}, b[16] = {0};
    chance_random(source, a, sizeof a);
    chance_random(source, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    simulated_chance one, two;
    simulated_chance_init(&one, 42);
    simulated_chance_init(&two, 42);
    chance_random(&one.chance, a, sizeof a);
    chance_random(&two.chance, b, sizeof b);
    assert_memory_equal(a, b, sizeof a);
    simulated_chance_advance(&one, 5000000);
    assert_int_equal(chance_boot_ns(&one.chance) - chance_boot_ns(&two.chance), 5000000);
    assert_int_equal(chance_wall_ms(&one.chance) - chance_wall_ms(&two.chance), 5);
    char id[37];
    boot_id_read(id);
    assert_int_equal(strlen(id), 36);
}

/* Runs log_write with standard error on a pipe and returns what came out. */
static void capture(log_format format, const char *message, const char *value, char out[8192]) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    log_setup("test", LOG_INFO, format);
    LOG(LOG_INFO, message, LOG_TEXT("value", value), LOG_NUMBER("count", -3));
    LOG(LOG_DEBUG, "below the level", LOG_TEXT("x", "y"));
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t got = read(ends[0], out, 8191);
    close(ends[0]);
    assert_true(got > 0);
    out[got] = '\0';
}

static void test_log_lines_cannot_be_forged(void **state) {
    (void)state;
    char line[8192];
    capture(LOG_LOGFMT, "started", "a b\nlevel=error \"x\"", line);
    assert_non_null(strstr(
        line,
        " level=info service=test message=started value=\"a b\\u000alevel=error \\\"x\\\"\" count=-3\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    assert_int_equal(strncmp(line, "time=20", 7), 0);
    capture(LOG_JSON, "started", "quote\" back\\ tab\t", line);
    assert_non_null(strstr(line, "\"value\":\"quote\\\" back\\\\ tab\\u0009\",\"count\":-3}\n"));
    assert_int_equal(line[0], '{');
    char huge[6000];
    memset(huge, 'x', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    capture(LOG_LOGFMT, "long", huge, line);
    assert_true(strlen(line) <= 4096);
    assert_int_equal(line[strlen(line) - 1], '\n');
    log_setup("interlock", LOG_INFO, LOG_LOGFMT);
}

static void test_metrics_text(void **state) {
    (void)state;
    buffer out, labels;
    buffer_init(&out, 1U << 16);
    buffer_init(&labels, 1000);
    metrics_label(&labels, "method", "a\"b\\c\nd");
    metrics_label(&labels, "code", "OK");
    assert_string_equal(labels.data, "method=\"a\\\"b\\\\c\\nd\",code=\"OK\"");
    metrics_family(&out, "x_total", "counter", "Things.");
    metrics_sample(&out, "x_total", labels.data, 3);
    assert_non_null(strstr(out.data, "# TYPE x_total counter\nx_total{method="));
    histogram values = {0};
    histogram_observe_ns(&values, 40000);
    histogram_observe_ns(&values, 60000);
    histogram_observe_ns(&values, UINT64_C(10000000000));
    buffer_clear(&out);
    metrics_histogram(&out, "t_seconds", "", &values);
    assert_non_null(strstr(out.data, "t_seconds_bucket{le=\"5e-05\"} 1\n"));
    assert_non_null(strstr(out.data, "t_seconds_bucket{le=\"0.0001\"} 2\n"));
    assert_non_null(strstr(out.data, "t_seconds_bucket{le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(out.data, "t_seconds_count 3\n"));
    buffer_free(&out);
    buffer_free(&labels);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure_keeps_what_happened),
        cmocka_unit_test(test_every_status_has_a_name),
        cmocka_unit_test(test_base64_vectors),
        cmocka_unit_test(test_base64_refuses_what_is_not_canonical),
        cmocka_unit_test(test_random_bytes_survive_every_encoding),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_buffer_is_bounded),
        cmocka_unit_test(test_arena_is_bounded_and_aligned),
        cmocka_unit_test(test_randomness_is_never_given_twice),
        cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_log_lines_cannot_be_forged),
        cmocka_unit_test(test_metrics_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
