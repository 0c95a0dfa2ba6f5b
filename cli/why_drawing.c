/* One picture of an incident: the path from the cause to the symptom as boxes, and a timeline of first signs
 * below. Plain SVG without scripts; every text is escaped. */
#include <string.h>

#include "why.h"

#define WIDTH 960
#define MARGIN 24
#define BOX_HEIGHT 58
#define STEP 96 /* from one box to the next */
#define TEXT_BYTES 110

static void escaped(buffer *out, const char *text, size_t most) {
    for (size_t i = 0; i < most && text[i] != '\0'; i++) {
        switch (text[i]) {
        case '<':
            buffer_text(out, "&lt;");
            break;
        case '>':
            buffer_text(out, "&gt;");
            break;
        case '&':
            buffer_text(out, "&amp;");
            break;
        case '"':
            buffer_text(out, "&quot;");
            break;
        default:
            buffer_append(out, &text[i], 1);
        }
    }
    if (strlen(text) > most)
        buffer_text(out, "...");
}

static void text_at(buffer *out, double x, double y, const char *class, const char *text) {
    buffer_format(out, "<text x=\"%.0f\" y=\"%.0f\" class=\"%s\">", x, y, class);
    escaped(out, text, TEXT_BYTES);
    buffer_text(out, "</text>\n");
}

static void draw_hop(arena *memory, const Interlock__Graph__V1__CauseHop *hop, size_t at, buffer *out) {
    double y = 70 + (double)at * STEP;
    buffer_format(out, "<rect x=\"%d\" y=\"%.0f\" width=\"%d\" height=\"%d\" rx=\"6\" class=\"%s\"/>\n",
                  MARGIN, y, WIDTH - 2 * MARGIN, BOX_HEIGHT, at == 0 ? "cause" : "hop");
    text_at(out, MARGIN + 12, y + 24, "name", why_short_name(memory, hop->node));
    text_at(out, WIDTH - MARGIN - 80, y + 24, "time", why_clock(memory, hop->at_ms));
    if (hop->n_evidence > 0)
        text_at(out, MARGIN + 12, y + 46, "clue", cli_safe(memory, hop->evidence[0]->text));
    if (at > 0)
        buffer_format(out, "<path d=\"M%d %.0f v%d\" class=\"arrow\" marker-end=\"url(#tip)\"/>\n", WIDTH / 2,
                      y - (STEP - BOX_HEIGHT), STEP - BOX_HEIGHT - 6);
}

typedef struct span_of_time {
    int64_t from_ms, to_ms;
} span_of_time;

static double place(const span_of_time *over, int64_t at_ms) {
    double share = (double)(at_ms - over->from_ms) / (double)(over->to_ms - over->from_ms);
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    return MARGIN + share * (WIDTH - 2 * MARGIN);
}

static void draw_sign(arena *memory, const span_of_time *over, int64_t at_ms, double y, const char *class,
                      const char *what, buffer *out) {
    if (at_ms == 0)
        return;
    double x = place(over, at_ms);
    buffer_format(out, "<circle cx=\"%.1f\" cy=\"%.0f\" r=\"5\" class=\"%s\"/>\n", x, y, class);
    const char *text = arena_format(memory, "%s %s", why_clock(memory, at_ms), what);
    text_at(out, x > WIDTH * 0.7 ? WIDTH * 0.7 : x + 10, y + 4, "clue", text == NULL ? "" : text);
}

/* A line a hop, the changes of the cause first. */
static void draw_timeline(arena *memory, const why_answer *answer, const why_hypothesis *of, double top,
                          buffer *out) {
    span_of_time over = {.from_ms = answer->symptom->from_ms - 60000, .to_ms = answer->symptom->to_ms};
    buffer_format(out, "<path d=\"M%d %.0f h%d\" class=\"axis\"/>\n", MARGIN, top, WIDTH - 2 * MARGIN);
    text_at(out, MARGIN, top - 8, "clue", why_clock(memory, over.from_ms));
    text_at(out, WIDTH - MARGIN - 60, top - 8, "clue", why_clock(memory, over.to_ms));
    double y = top + 22;
    for (size_t i = 0; i < of->n_chain; i++, y += 26) {
        const Interlock__Graph__V1__CauseHop *hop = of->chain[i];
        for (size_t k = 0; k < hop->n_evidence; k++) {
            if (hop->evidence[k]->kind == INTERLOCK__GRAPH__V1__EVIDENCE_KIND__EVIDENCE_KIND_CHANGE)
                draw_sign(memory, &over, hop->evidence[k]->at_ms, y, "change",
                          cli_safe(memory, hop->evidence[k]->text), out);
        }
        draw_sign(memory, &over, hop->at_ms, y, i == 0 ? "cause" : "hop", why_short_name(memory, hop->node),
                  out);
    }
}

static const char style[] =
    "<style>text{font:13px sans-serif;fill:#222}.name{font-weight:bold;font-size:15px}.clue,.time{fill:#555}"
    ".title{font-size:17px;font-weight:bold}rect{fill:#fff;stroke:#888}rect.cause{fill:#fde8e6;stroke:#"
    "b3261e;"
    "stroke-width:2}circle.cause{fill:#b3261e}circle.hop{fill:#888}circle.change{fill:#7a4fbf}"
    ".arrow,.axis{stroke:#888;stroke-width:1.5;fill:none}</style>\n"
    "<defs><marker id=\"tip\" viewBox=\"0 0 10 10\" refX=\"5\" refY=\"5\" markerWidth=\"7\" "
    "markerHeight=\"7\" "
    "orient=\"auto\"><path d=\"M0 0L10 5L0 10z\" fill=\"#888\"/></marker></defs>\n";

void why_draw(arena *memory, const why_answer *answer, buffer *out) {
    const why_hypothesis *of = answer->n_hypotheses > 0 ? answer->hypotheses[0] : NULL;
    size_t hops = of == NULL ? 0 : of->n_chain;
    double top = 70 + (double)hops * STEP + 20;
    buffer_format(
        out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" role=\"img\">\n",
        WIDTH, top + (double)hops * 26 + 40, WIDTH);
    buffer_text(out, style);
    const char *title = of == NULL ? "No cause is named: nothing stands out enough"
                                   : arena_format(memory, "%s: %s, %.0f %%", why_short_name(memory, of->node),
                                                  why_kind(memory, of), 100 * of->probability);
    text_at(out, MARGIN, 40, "title", title == NULL ? "" : title);
    for (size_t i = 0; i < hops; i++)
        draw_hop(memory, of->chain[i], i, out);
    if (of != NULL && answer->symptom != NULL && answer->symptom->to_ms > answer->symptom->from_ms)
        draw_timeline(memory, answer, of, top, out);
    buffer_text(out, "</svg>\n");
}
