/* Where coordination is: what wins over what, and that a wrong file is named with its place. */
#include "test.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/place.h"

#define URLS "http://127.0.0.1:2379,https://[::1]:2379"

static int folder_make(void **state) {
    char *folder = strdup("/tmp/place-test-XXXXXX");
    *state = folder;
    return folder != NULL && mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *at) {
    (void)info, (void)type, (void)at;
    return remove(path);
}

static int folder_remove(void **state) {
    nftw(*state, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return 0;
}

static void write_text(const char *folder, const char *text, size_t size) {
    char path[256];
    snprintf(path, sizeof path, "%s/" PLACE_FILE, folder);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void without_anything_it_is_the_embedded_file(void **state) {
    place found;
    char wanted[256];
    failure why = {0};
    snprintf(wanted, sizeof wanted, "%s/coord/coord.db", (const char *)*state);
    assert_int_equal(place_find(&found, *state, NULL, "", &why), STATUS_OK);
    assert_string_equal(found.etcd, "");
    assert_string_equal(found.file, wanted);
}

static void what_was_saved_is_found_again(void **state) {
    place found;
    failure why = {0};
    assert_int_equal(place_save(*state, URLS, &why), STATUS_OK);
    assert_int_equal(place_find(&found, *state, NULL, NULL, &why), STATUS_OK);
    assert_string_equal(found.etcd, URLS);
    assert_int_equal(place_save(*state, URLS, &why), STATUS_FAILED_PRECONDITION); /* never written over */
    assert_string_equal(why.reason, "COORDINATION_UNWRITABLE");
}

static void what_the_caller_was_told_wins(void **state) {
    place found;
    failure why = {0};
    assert_int_equal(place_save(*state, URLS, &why), STATUS_OK);
    assert_int_equal(place_find(&found, *state, "http://other:1", NULL, &why), STATUS_OK);
    assert_string_equal(found.etcd, "http://other:1");
    assert_int_equal(place_find(&found, *state, NULL, "/x/coord.db", &why), STATUS_OK);
    assert_string_equal(found.etcd, "");
    assert_string_equal(found.file, "/x/coord.db");
    assert_int_equal(place_find(&found, *state, "http://other:1", "/x/coord.db", &why),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "TWO_PLACES");
    assert_string_equal(found.file, "/x/coord.db"); /* untouched */
}

typedef struct wrong_file {
    const char *text, *place;
} wrong_file;

static void a_wrong_file_is_named_with_its_place(void **state) {
    static const wrong_file cases[] = {
        {"", ":1:1: "},
        {"# nothing\n", ":1:1: "},
        {"etcd: [a, b]\n", ":1:7: not a list"},
        {"etcd: \"\"\n", ":1:7: not a list"},
        {"etcd: \"http://a b\"\n", ":1:7: not a list"},
        {"etcd: \"http://a\\0b\"\n", ":1:7: not a list"},
        {"\nctcd: http://a:1\n", ":2:1: the key"},
        {"etcd: http://a:1\netcd: http://b:1\n", ":1:1: not one key"},
        {"- etcd\n", ":1:1: not one key"},
        {"etcd: http://a:1\n---\netcd: http://b:1\n", ":2:1: more than one"},
        {"etcd: {\n", "no YAML"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        place found = {.etcd = "kept"};
        failure why = {0};
        write_text(*state, cases[i].text, strlen(cases[i].text));
        assert_int_equal(place_find(&found, *state, NULL, NULL, &why), STATUS_INVALID_ARGUMENT);
        assert_string_equal(why.reason, "COORDINATION_INVALID");
        if (strstr(why.message, cases[i].place) == NULL)
            print_error("case %zu: \"%s\" lacks \"%s\"\n", i, why.message, cases[i].place);
        assert_non_null(strstr(why.message, cases[i].place));
        assert_string_equal(found.etcd, "kept");
    }
}

static void a_huge_file_is_refused(void **state) {
    static char text[8192];
    place found;
    failure why = {0};
    memset(text, '#', sizeof text);
    write_text(*state, text, sizeof text);
    assert_int_equal(place_find(&found, *state, NULL, NULL, &why), STATUS_FAILED_PRECONDITION);
    assert_string_equal(why.reason, "COORDINATION_UNREADABLE");
}

static void endpoints_that_would_break_the_file_are_not_saved(void **state) {
    static const char *const cases[] = {"", "http://a\"\netcd: x", "http://a b", "http://a\\b"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        failure why = {0};
        assert_int_equal(place_save(*state, cases[i], &why), STATUS_INVALID_ARGUMENT);
        assert_string_equal(why.reason, "BAD_ENDPOINTS");
    }
}

static void installations_are_kept_apart(void **state) {
    char prefix[PLACE_PREFIX_BYTES];
    trust roots = {.installation = "acme"};
    (void)state;
    place_prefix(&roots, prefix);
    assert_string_equal(prefix, "interlock/acme/");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(without_anything_it_is_the_embedded_file),
        CASE(what_was_saved_is_found_again),
        CASE(what_the_caller_was_told_wins),
        CASE(a_wrong_file_is_named_with_its_place),
        CASE(a_huge_file_is_refused),
        CASE(endpoints_that_would_break_the_file_are_not_saved),
        CASE(installations_are_kept_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
