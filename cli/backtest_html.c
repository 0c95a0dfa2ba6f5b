/* What a backtest found, as one page that needs nothing else: style and picture are in it. */
#include <string.h>

#include "backtest_report.h"
#include "html.h"

#define BINS 96U
#define WIDTH 960U
#define HEIGHT 140U
#define ROWS_MAX 2000U

static const char style[] =
    ":root{--ink:#1b2430;--soft:#5b6778;--line:#d8dee6;--paper:#fff;--tint:#f4f6f9;--ALLOW:#3f7d46;--MODIFY:#"
    "2c6ea3;"
    "--REVIEW:#6a4fa8;--DEFER:#8a6a12;--DENY:#a8392b}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e4e9f0;--soft:#9aa7b8;--line:#323b47;--paper:#151a21;"
    "--tint:#1e252e}}"
    "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 "
    "auto;padding:2rem "
    "1.25rem;max-width:64rem}"
    "h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.1rem;margin:2.25rem 0 .5rem}p{margin:.25rem "
    "0;color:var(--soft)}"
    ".tiles{display:flex;flex-wrap:wrap;gap:.75rem;margin:1.5rem 0}.tile{background:var(--tint);border:1px "
    "solid "
    "var(--line);border-radius:.5rem;padding:.6rem 1rem;min-width:8rem}"
    ".tile b{display:block;font-size:1.6rem;line-height:1.2}.tile span{color:var(--soft);font-size:.85rem}"
    "table{border-collapse:collapse;width:100%;font-size:.9rem}th,td{text-align:left;padding:.35rem "
    ".6rem;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:break-word}"
    "th{color:var(--soft);font-weight:600;white-space:nowrap}td.n,th.n{text-align:right;font-variant-numeric:"
    "tabular-nums}"
    ".o{display:inline-block;white-space:nowrap;border-radius:.3rem;padding:0 "
    ".4rem;color:#fff;font-size:.8rem}"
    ".scroll{overflow-x:auto}svg{width:100%;height:auto;display:block}svg "
    "text{fill:var(--soft);font-size:11px}";

static void put_outcome(buffer *out, policy_outcome outcome) {
    const char *name = policy_outcome_name(outcome);
    buffer_format(out, "<span class=\"o\" style=\"background:var(--%s)\">%s</span>", name, name);
}

static void put_cell(buffer *out, const char *text) {
    buffer_text(out, "<td>");
    html_text(out, text);
    buffer_text(out, "</td>");
}

static void put_number(buffer *out, uint64_t number) {
    buffer_format(out, "<td class=\"n\">%llu</td>", (unsigned long long)number);
}

static void put_tile(buffer *out, uint64_t number, const char *what) {
    buffer_format(out, "<div class=\"tile\"><b>%llu</b><span>%s</span></div>", (unsigned long long)number,
                  what);
}

static void put_head(arena *memory, const backtest *found, const backtest_scope *scope, buffer *out) {
    const backtest_totals *totals = &found->totals;
    buffer_format(out,
                  "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
                  "content=\"width=device-width\"><title>Backtest</title><style>%s</style></head><body>\n"
                  "<h1>What the policies would have done</h1>\n<p>",
                  style);
    html_text(out, arena_format(memory, "%s, version %llu, on ", scope->set->name,
                                (unsigned long long)scope->set->version));
    html_text(out, scope->events);
    if (found->change_count + found->incident_count > 0) {
        buffer_format(out, ", %s to ", cli_time(memory, found->from_ms));
        buffer_text(out, cli_time(memory, found->to_ms));
    }
    buffer_text(out, ". Past changes are judged as if agents had proposed them");
    buffer_text(out,
                scope->knows_impact ? ", with the impact that the graph predicts today.</p>\n" : ".</p>\n");
    if (!scope->knows_impact || scope->without_impact > 0)
        buffer_format(
            out, "<p>The impact of %llu changes is not known: rules that read it defer.</p>\n",
            (unsigned long long)(scope->knows_impact ? scope->without_impact : found->change_count));
    buffer_text(out, "<div class=\"tiles\">");
    put_tile(out, found->change_count, "changes");
    put_tile(out, totals->by_outcome[POLICY_DENY], "refused");
    put_tile(out, found->incident_count, "incidents");
    put_tile(out, totals->prevented, "incidents prevented");
    put_tile(out, totals->held + totals->narrowed, "held or narrowed");
    put_tile(out, totals->missed, "missed");
    put_tile(out, totals->false_alarms, "false alarms");
    buffer_text(out, "</div>\n");
}

/* ---- the picture: changes over time by outcome, incidents above ---- */

static size_t bin_of(const backtest *found, int64_t time_ms) {
    int64_t whole = found->to_ms - found->from_ms;
    double place = whole > 0 ? (double)(time_ms - found->from_ms) / (double)whole : 0;
    size_t bin = (size_t)(place * BINS);
    return bin < BINS ? bin : BINS - 1;
}

static void put_bars(const backtest *found, buffer *out) {
    static uint64_t bins[BINS][6];
    uint64_t highest = 1;
    memset(bins, 0, sizeof bins);
    for (size_t i = 0; i < found->change_count; i++)
        bins[bin_of(found, found->changes[i].time_ms)][found->changes[i].outcome]++;
    for (size_t i = 0; i < BINS; i++) {
        uint64_t sum = 0;
        for (int outcome = POLICY_ALLOW; outcome <= POLICY_DENY; outcome++)
            sum += bins[i][outcome];
        highest = sum > highest ? sum : highest;
    }
    for (size_t i = 0; i < BINS; i++) {
        double top = HEIGHT - 16;
        for (int outcome = POLICY_ALLOW; outcome <= POLICY_DENY; outcome++) {
            double size = (double)(HEIGHT - 40) * (double)bins[i][outcome] / (double)highest;
            top -= size;
            if (size > 0)
                buffer_format(out,
                              "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                              "fill=\"var(--%s)\"><title>%llu %s</title></rect>",
                              (double)i * WIDTH / BINS, top, (double)WIDTH / BINS - 1.5, size,
                              policy_outcome_name((policy_outcome)outcome),
                              (unsigned long long)bins[i][outcome],
                              policy_outcome_name((policy_outcome)outcome));
        }
    }
}

static void put_marks(const backtest *found, buffer *out) {
    for (size_t i = 0; i < found->incident_count && i < ROWS_MAX; i++) {
        const backtest_incident *incident = &found->incidents[i];
        bool good = strcmp(backtest_fate(found, incident), "prevented") == 0;
        buffer_format(out,
                      "<circle cx=\"%.1f\" cy=\"10\" r=\"4.5\" fill=\"%s\" stroke=\"var(--DENY)\"><title>",
                      ((double)bin_of(found, incident->opened_ms) + 0.5) * WIDTH / BINS,
                      good ? "var(--paper)" : "var(--DENY)");
        html_text(out, incident->title[0] != '\0' ? incident->title : incident->name);
        buffer_format(out, ": %s</title></circle>", backtest_fate(found, incident));
    }
}

static void put_picture(arena *memory, const backtest *found, buffer *out) {
    if (found->change_count == 0)
        return;
    buffer_format(
        out,
        "<svg viewBox=\"0 0 %u %u\" role=\"img\" aria-label=\"Changes over time by outcome, incidents "
        "above\">",
        WIDTH, HEIGHT);
    put_bars(found, out);
    put_marks(found, out);
    buffer_format(out, "<text x=\"0\" y=\"%u\">%s</text>", HEIGHT - 2, cli_time(memory, found->from_ms));
    buffer_format(out, "<text x=\"%u\" y=\"%u\" text-anchor=\"end\">%s</text></svg>\n<p>", WIDTH, HEIGHT - 2,
                  cli_time(memory, found->to_ms));
    for (int outcome = POLICY_ALLOW; outcome <= POLICY_DENY; outcome++) {
        put_outcome(out, (policy_outcome)outcome);
        buffer_format(out, " %llu &nbsp; ", (unsigned long long)found->totals.by_outcome[outcome]);
    }
    buffer_text(out, "Circles are incidents; hollow ones would have been prevented.</p>\n");
}

/* ---- the tables ---- */

static void put_cause(arena *memory, const backtest *found, const backtest_incident *incident, buffer *out) {
    if (incident->cause == BACKTEST_NONE) {
        buffer_text(out, "<td>not known</td><td></td><td></td>");
        return;
    }
    const backtest_change *cause = &found->changes[incident->cause];
    put_cell(out, arena_format(memory, "%s %s%s", cause->verb, backtest_target(memory, cause),
                               incident->presumed ? " (presumed)" : ""));
    buffer_text(out, "<td>");
    put_outcome(out, cause->outcome);
    buffer_text(out, "</td>");
    put_cell(out, cause->outcome == POLICY_ALLOW ? "" : backtest_because(memory, cause));
}

static void put_incidents(arena *memory, const backtest *found, buffer *out) {
    if (found->incident_count == 0)
        return;
    buffer_text(
        out, "<h2>Incidents</h2>\n<div class=\"scroll\"><table><tr><th>Opened<th>Incident<th>Fate<th>Change "
             "that caused it<th>Verdict<th>Because</tr>\n");
    for (size_t i = 0; i < found->incident_count && i < ROWS_MAX; i++) {
        const backtest_incident *incident = &found->incidents[i];
        buffer_text(out, "<tr>");
        put_cell(out, cli_time(memory, incident->opened_ms));
        put_cell(out, incident->title[0] != '\0' ? incident->title : incident->name);
        put_cell(out, backtest_fate(found, incident));
        put_cause(memory, found, incident, out);
        buffer_text(out, "</tr>\n");
    }
    buffer_text(out, "</table></div>\n");
}

static void put_rule(const char *name, const char *effect, const backtest_rule *rule, buffer *out) {
    buffer_text(out, "<tr>");
    put_cell(out, name);
    put_cell(out, effect);
    put_number(out, rule->held);
    put_number(out, rule->decisive);
    put_number(out, rule->prevented);
    put_number(out, rule->false_alarms);
    buffer_text(out, "</tr>\n");
}

static void put_rules(const backtest *found, const policy_set *set, buffer *out) {
    buffer_text(out,
                "<h2>What each rule contributed</h2>\n<div class=\"scroll\"><table><tr><th>Rule<th>Effect<th "
                "class=\"n\">Held<th class=\"n\">Stopped<th class=\"n\">Incidents prevented<th "
                "class=\"n\">False alarms</tr>\n");
    for (size_t i = 0; i < set->rule_count; i++)
        put_rule(set->rules[i].name, policy_effect_name(set->rules[i].effect), &found->rules[i], out);
    if (found->nothing.decisive > 0)
        put_rule("(nothing permits it)", "", &found->nothing, out);
    buffer_text(out, "</table></div>\n");
}

static void put_stopped(arena *memory, const backtest *found, buffer *out) {
    size_t shown = 0;
    buffer_text(
        out,
        "<h2>Changes that would not have run as they were</h2>\n<div class=\"scroll\"><table><tr><th>Time"
        "<th>Change<th>Target<th>Verdict<th>Because<th>Incident followed</tr>\n");
    for (size_t i = 0; i < found->change_count && shown < ROWS_MAX; i++) {
        const backtest_change *change = &found->changes[i];
        if (change->outcome == POLICY_ALLOW)
            continue;
        shown++;
        buffer_text(out, "<tr>");
        put_cell(out, cli_time(memory, change->time_ms));
        put_cell(out, arena_format(memory, "%s %s", change->verb, change->version));
        put_cell(out, backtest_target(memory, change));
        buffer_text(out, "<td>");
        put_outcome(out, change->outcome);
        buffer_text(out, "</td>");
        put_cell(out, change->message[0] != '\0' ? change->message : backtest_because(memory, change));
        put_cell(out, change->incident_count > 0 ? "yes" : "no");
        buffer_text(out, "</tr>\n");
    }
    buffer_text(out, "</table></div>\n");
    if (shown == ROWS_MAX)
        buffer_text(out, "<p>The first 2,000 are shown; interlock backtest -o json has all.</p>\n");
}

void backtest_html(arena *memory, const backtest *found, const backtest_scope *scope, buffer *out) {
    put_head(memory, found, scope, out);
    put_picture(memory, found, out);
    put_incidents(memory, found, out);
    put_rules(found, scope->set, out);
    put_stopped(memory, found, out);
    buffer_text(out, "</body></html>\n");
}
