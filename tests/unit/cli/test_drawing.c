/* Drawings: whatever the graph is, the layout ends, says everything once, and puts callers left of whom they
 * call. */
#include "drawing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/chance.h"
#include "test.h"

static size_t count_of(const char *text, const char *word) {
    size_t count = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word))
        count++;
    return count;
}

static void draw(const drawing *what, buffer *out) {
    arena memory;
    failure why = {0};
    arena_init(&memory, 1U << 16, 64U << 20);
    buffer_init(out, 16U << 20);
    assert_int_equal(drawing_svg(what, &memory, out, &why), STATUS_OK);
    arena_free(&memory);
}

/* Where the box of a node begins. */
static double left_of(const char *svg, const char *name) {
    char title[64];
    snprintf(title, sizeof title, "<title>%s</title><rect x=\"", name);
    const char *at = strstr(svg, title);
    assert_non_null(at);
    return strtod(at + strlen(title), NULL);
}

static void callers_stand_left_of_whom_they_call(void **state) {
    drawing_node nodes[] = {
        {.name = "service:a/b/c"}, {.name = "service:a/b/b"}, {.name = "service:a/b/a", .strong = true}};
    drawing_edge edges[] = {{.from = 2, .to = 1, .kind = "calls"},
                            {.from = 1, .to = 0, .kind = "calls", .label = "17"},
                            {.from = 2, .to = 0, .kind = "calls", .weak = true}};
    drawing what = {.nodes = nodes, .node_count = 3, .edges = edges, .edge_count = 3};
    buffer out;
    (void)state;
    draw(&what, &out);
    assert_true(left_of(out.data, "service:a/b/a") < left_of(out.data, "service:a/b/b"));
    assert_true(left_of(out.data, "service:a/b/b") < left_of(out.data, "service:a/b/c"));
    assert_non_null(strstr(out.data, ">17</text>"));
    assert_int_equal(count_of(out.data, "<path class=\"e calls w\""), 1);
    buffer_free(&out);
}

static void text_cannot_leave_its_place(void **state) {
    drawing_node nodes[] = {{.name = "service:a/b/<script>&\"'", .note = "</svg>"}};
    drawing_edge edges[] = {{.from = 0, .to = 0, .kind = "calls"}};
    drawing what = {.nodes = nodes, .node_count = 1, .edges = edges, .edge_count = 1};
    buffer out;
    (void)state;
    draw(&what, &out);
    assert_null(strstr(out.data, "<script"));
    assert_int_equal(count_of(out.data, "</svg>"), 1);
    buffer_free(&out);
    buffer_init(&out, 1U << 16);
    drawing_dot(&what, &out);
    assert_non_null(strstr(out.data, "\"service:a/b/<script>&'\";"));
    buffer_free(&out);
}

static void nothing_can_be_drawn(void **state) {
    drawing what = {0};
    buffer out;
    (void)state;
    draw(&what, &out);
    assert_non_null(strstr(out.data, "</svg>"));
    buffer_free(&out);
}

static void too_much_is_refused(void **state) {
    drawing what = {.node_count = DRAWING_NODES_MAX + 1};
    arena memory;
    buffer out;
    failure why = {0};
    (void)state;
    arena_init(&memory, 1U << 16, 64U << 20);
    buffer_init(&out, 1U << 16);
    assert_int_equal(drawing_svg(&what, &memory, &out, &why), STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(why.reason, "TOO_MANY_TO_DRAW");
    buffer_free(&out);
    arena_free(&memory);
}

/* Cycles, loops, edges twice, nodes alone. */
static void any_graph_is_drawn_whole(void **state) {
    simulated_chance seed;
    (void)state;
    simulated_chance_init(&seed, 11);
    for (size_t round = 0; round < 60; round++) {
        drawing_node nodes[40];
        drawing_edge edges[120];
        char names[40][32];
        drawing what = {
            .nodes = nodes, .node_count = 1 + round % 40, .edges = edges, .edge_count = 2 * round};
        buffer out;
        for (size_t i = 0; i < what.node_count; i++) {
            snprintf(names[i], sizeof names[i], "service:a/b/n%zu", i);
            nodes[i] = (drawing_node){.name = names[i]};
        }
        for (size_t i = 0; i < what.edge_count; i++) {
            uint8_t random[2];
            chance_random(&seed.chance, random, sizeof random);
            edges[i] = (drawing_edge){
                .from = random[0] % what.node_count, .to = random[1] % what.node_count, .kind = "calls"};
        }
        draw(&what, &out);
        assert_int_equal(count_of(out.data, "<g class=\"n "), what.node_count);
        assert_int_equal(count_of(out.data, "</title></path>"), what.edge_count);
        assert_null(strstr(out.data, "nan"));
        buffer_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callers_stand_left_of_whom_they_call),
        cmocka_unit_test(text_cannot_leave_its_place),
        cmocka_unit_test(nothing_can_be_drawn),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(any_graph_is_drawn_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
