/* A file of version 1 is taken over, with what it knew of both times; one of a later version is refused. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "graph.h"
#include "graph_store.h"
#include "history.h"

#define NEXT_VERSION (GRAPH_STORE_VERSION + 1)

static char folder[64], path[96];
static failure why;

static void must(status_code code) {
    if (code != STATUS_OK)
        print_error("%s: %s\n", why.reason, why.message);
    assert_int_equal(code, STATUS_OK);
}

static int folder_make(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/migration-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/graph.db", folder);
    return 0;
}

static int folder_remove(void **state) {
    char command[96];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static void file_make(int number) {
    static char text[65536];
    static const char *const none[8] = {"", "", "", "", "", "", "", ""};
    FILE *file = fopen(TEST_DATA_DIR "/version_1.sql", "r");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    store made;
    must(store_open(&made, path, number, text, none, STORE_DURABLE, &why));
    store_close(&made);
}

static double said(history_reader *reader, const char *name, const char *to, instant at) {
    arena memory;
    arena_init(&memory, 4096, 1U << 20);
    history_item item = {0};
    fact what = {.is_edge = to != NULL, .kind = EDGE_CALLS, .name = name, .to = to};
    must(history_read_at(reader, &what, at, &memory, &item, &why));
    double confidence = item.version_count == 0 ? 0 : item.versions[0].confidence;
    arena_free(&memory);
    return confidence;
}

static void version_1_is_taken_over(void **state) {
    static const char cart[] = "service:prod/shop/cart";
    static const char front[] = "service:prod/shop/front";
    (void)state;
    file_make(1);
    for (unsigned times = 0; times < 2; times++) {
        graph_service *graph = NULL;
        history_reader *reader = NULL;
        must(graph_service_create(&graph, path, chance_system(), &why));
        must(history_reader_open(&reader, ingest_history(graph_ingest(graph)), &why));
        assert_true(said(reader, cart, NULL, INSTANT_NOW) == 1);
        assert_true(said(reader, cart, NULL, (instant){1200, 2500}) == 0.5);
        assert_true(said(reader, cart, NULL, (instant){1200, 1999}) == 0);
        assert_true(said(reader, cart, NULL, (instant){999, HISTORY_OPEN}) == 0);
        assert_true(said(reader, front, cart, INSTANT_NOW) == 1);
        snapshot *now = ingest_snapshot(graph_ingest(graph));
        assert_int_equal(now->node_count, 2);
        assert_int_equal(now->edge_count, 1);
        assert_true(now->nodes[1].visible && now->nodes[1].source == PROVENANCE_OBSERVED);
        assert_int_equal(now->nodes[1].recorded_from_ms, 3000);
        snapshot_release(now);
        history_reader_close(reader);
        graph_service_close(graph);
    }
}

static void later_versions_are_refused(void **state) {
    (void)state;
    file_make(NEXT_VERSION);
    graph_service *graph = NULL;
    assert_int_equal(graph_service_create(&graph, path, chance_system(), &why), STATUS_FAILED_PRECONDITION);
    assert_string_equal(why.reason, "STORE_TOO_NEW");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(version_1_is_taken_over, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(later_versions_are_refused, folder_make, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
