/* A layered drawing, after Sugiyama, Tagawa and Toda (1981): break cycles, put nodes into columns, let long
 * edges pass through every column between, order the columns by barycentres, draw. */
#include "drawing.h"

#include <stdlib.h>
#include <string.h>

#define SWEEPS 12U
#define PIECES_MAX 20000U
#define ROW_PX 46.0
#define NODE_HEIGHT_PX 34.0
#define COLUMN_GAP_PX 110.0
#define LETTER_PX 7.3
#define MARGIN_PX 24.0
#define LEGEND_PX 34.0
#define NODE_LEAST_PX 90.0

/* A node, or the place where a long edge crosses a column. */
typedef struct point {
    size_t node; /* SIZE_MAX: of an edge */
    size_t layer;
    double order, x, y, width;
} point;

/* From one column to the next. */
typedef struct piece {
    size_t left, right; /* points */
} piece;

typedef struct layout {
    const drawing *of;
    point *points;
    size_t point_count;
    piece *pieces;
    size_t piece_count;
    size_t *first_piece; /* of each edge; an edge's pieces follow one another */
    bool *reversed;      /* of each edge */
    size_t layer_count;
    size_t **layers; /* points of each column, in their order */
    size_t *sizes;
    double *widths;
    double width, height;
} layout;

/* ---- Text */

static void xml_text(buffer *out, const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '<' || *text == '>' || *text == '&' || *text == '"')
            buffer_format(out, "&#%d;", *text);
        else if ((unsigned char)*text >= 0x20)
            buffer_append(out, text, 1);
    }
}

static const char *short_name(const char *name) {
    const char *slash = strrchr(name, '/');
    return slash != NULL ? slash + 1 : name;
}

static size_t kind_size(const char *name) {
    const char *colon = strchr(name, ':');
    return colon != NULL ? (size_t)(colon - name) : 0;
}

static double node_width(const drawing_node *node) {
    size_t letters = strlen(short_name(node->name));
    double width = (double)(letters > 40 ? 40 : letters) * LETTER_PX + 24;
    return width < NODE_LEAST_PX ? NODE_LEAST_PX : width;
}

/* ---- Cycles and columns */

typedef struct walking {
    const drawing *of;
    const size_t *first, *edges; /* edges that leave each node */
    uint8_t *state;              /* 0 new, 1 on the way, 2 done */
    bool *reversed;
    size_t *stack, *next;
} walking;

/* Depth first, without recursion; an edge to a node on the way is turned round. */
static void walk(walking *self, size_t root) {
    size_t depth = 0;
    self->stack[depth++] = root;
    self->state[root] = 1;
    self->next[root] = self->first[root];
    while (depth > 0) {
        size_t here = self->stack[depth - 1];
        if (self->next[here] == self->first[here + 1]) {
            self->state[here] = 2;
            depth--;
            continue;
        }
        size_t edge = self->edges[self->next[here]++];
        size_t to = self->of->edges[edge].to;
        if (self->state[to] == 1) {
            self->reversed[edge] = true;
        } else if (self->state[to] == 0) {
            self->state[to] = 1;
            self->next[to] = self->first[to];
            self->stack[depth++] = to;
        }
    }
}

/* first[n] … first[n + 1]: places in `edges` of those that leave n. */
static void edges_by_node(const drawing *of, size_t *first, size_t *edges) {
    for (size_t i = 0; i < of->edge_count; i++)
        first[of->edges[i].from + 1]++;
    for (size_t i = 0; i < of->node_count; i++)
        first[i + 1] += first[i];
    for (size_t i = of->edge_count; i > 0; i--)
        edges[--first[of->edges[i - 1].from + 1]] = i - 1;
    /* The counting has moved every start one place on: bring them back. */
    memmove(first, first + 1, of->node_count * sizeof *first);
    first[of->node_count] = of->edge_count;
}

static bool cycles_break(layout *self, arena *memory) {
    const drawing *of = self->of;
    size_t *first = arena_zero(memory, of->node_count + 2, sizeof *first);
    size_t *edges = arena_zero(memory, of->edge_count + 1, sizeof *edges);
    uint8_t *entered = arena_zero(memory, of->node_count + 1, 1);
    walking work = {.of = of,
                    .first = first,
                    .edges = edges,
                    .reversed = self->reversed,
                    .state = arena_zero(memory, of->node_count + 1, 1),
                    .stack = arena_zero(memory, of->node_count + 1, sizeof(size_t)),
                    .next = arena_zero(memory, of->node_count + 1, sizeof(size_t))};
    if (first == NULL || edges == NULL || entered == NULL || work.state == NULL || work.stack == NULL ||
        work.next == NULL)
        return false;
    edges_by_node(of, first, edges);
    for (size_t i = 0; i < of->edge_count; i++)
        entered[of->edges[i].to] = 1;
    for (size_t i = 0; i < of->node_count; i++) /* what nothing leads to comes first */
        if (entered[i] == 0 && work.state[i] == 0)
            walk(&work, i);
    for (size_t i = 0; i < of->node_count; i++)
        if (work.state[i] == 0)
            walk(&work, i);
    return true;
}

static void ends(const layout *self, size_t edge, size_t *left, size_t *right) {
    const drawing_edge *item = &self->of->edges[edge];
    *left = self->reversed[edge] ? item->to : item->from;
    *right = self->reversed[edge] ? item->from : item->to;
}

/* The longest way from a beginning; without cycles it settles within as many rounds as there are nodes. */
static void columns_find(layout *self) {
    bool moved = true;
    for (size_t round = 0; moved && round <= self->of->node_count; round++) {
        moved = false;
        for (size_t i = 0; i < self->of->edge_count; i++) {
            size_t left = 0;
            size_t right = 0;
            ends(self, i, &left, &right);
            if (left == right || self->points[right].layer > self->points[left].layer)
                continue;
            self->points[right].layer = self->points[left].layer + 1;
            moved = true;
        }
    }
    for (size_t i = 0; i < self->of->node_count; i++)
        if (self->points[i].layer + 1 > self->layer_count)
            self->layer_count = self->points[i].layer + 1;
}

/* ---- Pieces of edges */

static bool pieces_make(layout *self, size_t room) {
    for (size_t i = 0; i < self->of->edge_count; i++) {
        size_t left = 0;
        size_t right = 0;
        ends(self, i, &left, &right);
        self->first_piece[i] = self->piece_count;
        for (size_t at = left; left != right && at != right;) {
            size_t layer = self->points[at].layer + 1;
            size_t next = right;
            if (self->piece_count == room)
                return false;
            if (layer < self->points[right].layer) {
                next = self->point_count++;
                self->points[next] = (point){.node = SIZE_MAX, .layer = layer};
            }
            self->pieces[self->piece_count++] = (piece){.left = at, .right = next};
            at = next;
        }
    }
    self->first_piece[self->of->edge_count] = self->piece_count;
    return true;
}

static bool columns_fill(layout *self, arena *memory) {
    self->sizes = arena_zero(memory, self->layer_count + 1, sizeof *self->sizes);
    self->layers = arena_zero(memory, self->layer_count + 1, sizeof *self->layers);
    self->widths = arena_zero(memory, self->layer_count + 1, sizeof *self->widths);
    if (self->sizes == NULL || self->layers == NULL || self->widths == NULL)
        return false;
    for (size_t i = 0; i < self->point_count; i++)
        self->sizes[self->points[i].layer]++;
    for (size_t i = 0; i < self->layer_count; i++) {
        self->layers[i] = arena_zero(memory, self->sizes[i] + 1, sizeof **self->layers);
        if (self->layers[i] == NULL)
            return false;
        self->sizes[i] = 0;
    }
    for (size_t i = 0; i < self->point_count; i++) {
        size_t layer = self->points[i].layer;
        self->points[i].order = (double)self->sizes[layer];
        self->layers[layer][self->sizes[layer]++] = i;
    }
    return true;
}

/* ---- Order within the columns */

/* y holds the barycentre meanwhile. */
static int order_compare(const void *a, const void *b, void *points) {
    const point *all = points;
    size_t left = *(const size_t *)a;
    size_t right = *(const size_t *)b;
    if (all[left].y != all[right].y)
        return all[left].y < all[right].y ? -1 : 1;
    return (left > right) - (left < right);
}

/* Puts a column in the order of the middle of what each point is joined to on one side. */
static void column_order(layout *self, size_t layer, bool from_left, double *sums, size_t *counts) {
    for (size_t i = 0; i < self->point_count; i++) {
        sums[i] = 0;
        counts[i] = 0;
    }
    for (size_t i = 0; i < self->piece_count; i++) {
        size_t here = from_left ? self->pieces[i].right : self->pieces[i].left;
        size_t there = from_left ? self->pieces[i].left : self->pieces[i].right;
        if (self->points[here].layer != layer)
            continue;
        sums[here] += self->points[there].order;
        counts[here]++;
    }
    for (size_t i = 0; i < self->sizes[layer]; i++) {
        size_t at = self->layers[layer][i];
        self->points[at].y = counts[at] > 0 ? sums[at] / (double)counts[at] : self->points[at].order;
    }
    qsort_r(self->layers[layer], self->sizes[layer], sizeof **self->layers, order_compare, self->points);
    for (size_t i = 0; i < self->sizes[layer]; i++)
        self->points[self->layers[layer][i]].order = (double)i;
}

static bool columns_order(layout *self, arena *memory) {
    double *sums = arena_zero(memory, self->point_count + 1, sizeof *sums);
    size_t *counts = arena_zero(memory, self->point_count + 1, sizeof *counts);
    if (sums == NULL || counts == NULL)
        return false;
    for (size_t sweep = 0; sweep < SWEEPS; sweep++)
        for (size_t i = 1; i < self->layer_count; i++)
            column_order(self, sweep % 2 == 0 ? i : self->layer_count - 1 - i, sweep % 2 == 0, sums, counts);
    return true;
}

/* ---- Places */

static void places_find(layout *self) {
    size_t most = 0;
    double x = MARGIN_PX;
    for (size_t i = 0; i < self->layer_count; i++) {
        most = self->sizes[i] > most ? self->sizes[i] : most;
        for (size_t j = 0; j < self->sizes[i]; j++) {
            point *here = &self->points[self->layers[i][j]];
            here->width = here->node != SIZE_MAX ? node_width(&self->of->nodes[here->node]) : 0;
            self->widths[i] = here->width > self->widths[i] ? here->width : self->widths[i];
        }
    }
    for (size_t i = 0; i < self->layer_count; i++) {
        double top = MARGIN_PX + (double)(most - self->sizes[i]) * ROW_PX / 2;
        for (size_t j = 0; j < self->sizes[i]; j++) {
            point *here = &self->points[self->layers[i][j]];
            here->x = x + self->widths[i] / 2;
            here->y = top + ((double)j + 0.5) * ROW_PX;
        }
        x += self->widths[i] + COLUMN_GAP_PX;
    }
    self->width = x - (self->layer_count > 0 ? COLUMN_GAP_PX : 0) + MARGIN_PX;
    self->height = 2 * MARGIN_PX + (double)most * ROW_PX + LEGEND_PX;
}

static status_code layout_make(layout *self, arena *memory, failure *why) {
    size_t nodes = self->of->node_count;
    size_t edges = self->of->edge_count;
    if (nodes > DRAWING_NODES_MAX || edges > DRAWING_EDGES_MAX)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_TO_DRAW",
                    "%zu nodes and %zu edges; at most %u and %u can be drawn: choose kinds with --kind, or "
                    "use -o dot",
                    nodes, edges, DRAWING_NODES_MAX, DRAWING_EDGES_MAX);
    self->points = arena_zero(memory, nodes + PIECES_MAX, sizeof *self->points);
    self->pieces = arena_zero(memory, PIECES_MAX, sizeof *self->pieces);
    self->first_piece = arena_zero(memory, edges + 1, sizeof *self->first_piece);
    self->reversed = arena_zero(memory, edges + 1, sizeof *self->reversed);
    bool whole = self->points != NULL && self->pieces != NULL && self->first_piece != NULL &&
                 self->reversed != NULL && cycles_break(self, memory);
    for (size_t i = 0; i < nodes && whole; i++)
        self->points[i].node = i;
    self->point_count = nodes;
    if (whole)
        columns_find(self);
    if (whole && !pieces_make(self, PIECES_MAX))
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_TO_DRAW",
                    "the edges are too long to draw: choose kinds with --kind, or use -o dot");
    if (!whole || !columns_fill(self, memory) || !columns_order(self, memory))
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the drawing");
    places_find(self);
    return STATUS_OK;
}

/* ---- SVG */

static const char head[] =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" "
    "font-family=\"system-ui, sans-serif\" font-size=\"13\">\n"
    "<style>\n"
    ".b{fill:#fff}.n rect{fill:#f6f8fa;stroke:#57606a;stroke-width:1.2}.n "
    "text{fill:#1f2328;text-anchor:middle}\n"
    ".n .k{font-size:9px;fill:#57606a}.s "
    "rect{stroke-width:2.6}.e{fill:none;stroke:#57606a;stroke-width:1.2}\n"
    ".w{stroke-dasharray:4 "
    "3}.l{font-size:10px;fill:#57606a;text-anchor:middle}.g{font-size:11px;fill:#57606a}\n"
    ".datastore rect,.queue rect{fill:#ddf4ff}.deploy rect,.config rect,.flag rect{fill:#fff8c5}\n"
    ".incident rect{fill:#ffebe9}.zone rect,.owner rect,.journey rect,.contract rect{fill:#dafbe1}\n"
    ".changed_by{stroke:#9a6700}.affected,.caused,.suspected{stroke:#cf222e}.in_zone,.owned_by,.declares{"
    "stroke:#1a7f37}\n"
    ".publishes,.consumes,.reads,.writes{stroke:#0969da}\n"
    "@media (prefers-color-scheme: dark){.b{fill:#0d1117}.n rect{fill:#161b22;stroke:#8b949e}.n "
    "text{fill:#e6edf3}\n"
    ".n .k,.l,.g{fill:#8b949e}.e{stroke:#8b949e}.datastore rect,.queue rect{fill:#0c2d6b}\n"
    ".deploy rect,.config rect,.flag rect{fill:#4b2900}.incident rect{fill:#67060c}\n"
    ".zone rect,.owner rect,.journey rect,.contract rect{fill:#033a16}}\n"
    "</style>\n"
    "<defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" "
    "orient=\"auto-start-reverse\"><path d=\"M0 0 8 4 0 8z\" fill=\"context-stroke\"/></marker></defs>\n"
    "<rect class=\"b\" width=\"100%%\" height=\"100%%\"/>\n";

static void write_loop(const layout *self, const drawing_edge *edge, buffer *out) {
    const point *at = &self->points[edge->from];
    double top = at->y - NODE_HEIGHT_PX / 2;
    buffer_format(out, "M%.1f %.1fc-12 -16 24 -16 14 0", at->x - 6, top);
}

/* From the right side of one point to the left side of the next, in curves; backwards for an edge that was
 * turned. */
static void write_pieces(const layout *self, size_t edge, buffer *out) {
    size_t first = self->first_piece[edge];
    size_t last = self->first_piece[edge + 1];
    const point *start = &self->points[self->pieces[first].left];
    buffer_format(out, "M%.1f %.1f", start->x + start->width / 2, start->y);
    for (size_t i = first; i < last; i++) {
        const point *from = &self->points[self->pieces[i].left];
        const point *to = &self->points[self->pieces[i].right];
        double x0 = from->x + from->width / 2;
        double x1 = to->x - to->width / 2;
        double middle = (x0 + x1) / 2;
        buffer_format(out, "C%.1f %.1f %.1f %.1f %.1f %.1f", middle, from->y, middle, to->y, x1, to->y);
    }
}

static void write_edge(const layout *self, size_t place, buffer *out) {
    const drawing_edge *edge = &self->of->edges[place];
    buffer_format(out, "<path class=\"e ");
    xml_text(out, edge->kind);
    buffer_format(out, "%s\" marker-%s=\"url(#a)\" d=\"", edge->weak ? " w" : "",
                  self->reversed[place] && edge->from != edge->to ? "start" : "end");
    if (edge->from == edge->to)
        write_loop(self, edge, out);
    else
        write_pieces(self, place, out);
    buffer_text(out, "\"><title>");
    xml_text(out, self->of->nodes[edge->from].name);
    buffer_format(out, " %s ", edge->kind);
    xml_text(out, self->of->nodes[edge->to].name);
    buffer_text(out, "</title></path>\n");
}

static void write_label(const layout *self, size_t place, buffer *out) {
    const drawing_edge *edge = &self->of->edges[place];
    if (edge->label == NULL || edge->from == edge->to)
        return;
    const piece *first = &self->pieces[self->first_piece[place]];
    const point *from = &self->points[first->left];
    const point *to = &self->points[first->right];
    buffer_format(out, "<text class=\"l\" x=\"%.1f\" y=\"%.1f\">",
                  (from->x + from->width / 2 + to->x - to->width / 2) / 2, (from->y + to->y) / 2 - 4);
    xml_text(out, edge->label);
    buffer_text(out, "</text>\n");
}

/* At most 40 characters, not cut inside one. */
static void write_short(const char *text, buffer *out) {
    char cut[41];
    size_t size = strlen(text);
    size_t kept = size > 40 ? 37 : size;
    while (kept < size && kept > 0 && ((unsigned char)text[kept] & 0xC0U) == 0x80U)
        kept--;
    memcpy(cut, text, kept);
    cut[kept] = '\0';
    xml_text(out, cut);
    if (kept < size)
        buffer_text(out, "…");
}

static void write_node(const layout *self, size_t place, buffer *out) {
    const drawing_node *node = &self->of->nodes[place];
    const point *at = &self->points[place];
    int kind = (int)kind_size(node->name);
    buffer_format(out, "<g class=\"n %.*s%s\"><title>", kind, node->name, node->strong ? " s" : "");
    xml_text(out, node->name);
    if (node->note != NULL) {
        buffer_text(out, "&#10;");
        xml_text(out, node->note);
    }
    buffer_format(out,
                  "</title><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"6\"/>"
                  "<text class=\"k\" x=\"%.1f\" y=\"%.1f\">%.*s</text><text x=\"%.1f\" y=\"%.1f\">",
                  at->x - at->width / 2, at->y - NODE_HEIGHT_PX / 2, at->width, NODE_HEIGHT_PX, at->x,
                  at->y - 5, kind, node->name, at->x, at->y + 11);
    write_short(short_name(node->name), out);
    buffer_text(out, "</text></g>\n");
}

/* The kinds of edges that are there, each once. */
static void write_legend(const layout *self, buffer *out) {
    double x = MARGIN_PX;
    for (size_t i = 0; i < self->of->edge_count; i++) {
        bool before = false;
        for (size_t j = 0; j < i && !before; j++)
            before = strcmp(self->of->edges[j].kind, self->of->edges[i].kind) == 0;
        if (before)
            continue;
        double y = self->height - MARGIN_PX / 2;
        buffer_format(out, "<path class=\"e ");
        xml_text(out, self->of->edges[i].kind);
        buffer_format(
            out, "\" marker-end=\"url(#a)\" d=\"M%.1f %.1fh26\"/><text class=\"g\" x=\"%.1f\" y=\"%.1f\">", x,
            y, x + 32, y + 4);
        xml_text(out, self->of->edges[i].kind);
        buffer_text(out, "</text>\n");
        x += 32 + (double)strlen(self->of->edges[i].kind) * LETTER_PX + 24;
    }
}

status_code drawing_svg(const drawing *self, arena *memory, buffer *out, failure *why) {
    layout made = {.of = self};
    status_code code = layout_make(&made, memory, why);
    if (code != STATUS_OK)
        return code;
    buffer_format(out, head, made.width, made.height, made.width, made.height);
    for (size_t i = 0; i < self->edge_count; i++)
        write_edge(&made, i, out);
    for (size_t i = 0; i < self->edge_count; i++)
        write_label(&made, i, out);
    for (size_t i = 0; i < self->node_count; i++)
        write_node(&made, i, out);
    write_legend(&made, out);
    buffer_text(out, "</svg>\n");
    return buffer_ok(out)
               ? STATUS_OK
               : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the drawing");
}

/* ---- DOT */

static void dot_text(buffer *out, const char *text) {
    buffer_text(out, "\"");
    for (; *text != '\0'; text++)
        if (*text != '"' && *text != '\\' && (unsigned char)*text >= 0x20)
            buffer_append(out, text, 1);
    buffer_text(out, "\"");
}

void drawing_dot(const drawing *self, buffer *out) {
    buffer_text(out, "digraph interlock {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for (size_t i = 0; i < self->node_count; i++) {
        buffer_text(out, "  ");
        dot_text(out, self->nodes[i].name);
        buffer_text(out, self->nodes[i].strong ? " [style=bold];\n" : ";\n");
    }
    for (size_t i = 0; i < self->edge_count; i++) {
        const drawing_edge *edge = &self->edges[i];
        buffer_text(out, "  ");
        dot_text(out, self->nodes[edge->from].name);
        buffer_text(out, " -> ");
        dot_text(out, self->nodes[edge->to].name);
        buffer_text(out, " [label=");
        dot_text(out, edge->label != NULL ? edge->label : edge->kind);
        buffer_text(out, edge->weak ? ", style=dashed];\n" : "];\n");
    }
    buffer_text(out, "}\n");
}
