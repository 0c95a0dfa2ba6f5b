/* What two policy sets say differently: every document becomes a list of members as text, and texts compare.
 */
#include "policy_difference.h"

#include <stdlib.h>
#include <string.h>

#define MEMBERS_MAX 24U
#define TEXT_BYTES 65536U

typedef struct member {
    const char *name, *text;
} member;

/* A document with its members: of two of the same kind they stand in the same order. */
typedef struct document {
    const char *name;
    member members[MEMBERS_MAX];
    size_t count;
    bool broken; /* there was no memory for a text */
} document;

typedef struct documents {
    document *items;
    size_t count;
} documents;

typedef struct finding {
    arena *memory;
    policy_differences *out;
    size_t room;
    bool failed;
} finding;

/* ---- documents as texts ---- */

static void put(document *self, const char *name, const char *text) {
    self->broken = self->broken || text == NULL;
    if (self->count < MEMBERS_MAX)
        self->members[self->count++] = (member){.name = name, .text = text != NULL ? text : ""};
}

static const char *keep(finding *self, buffer *text) {
    const char *kept = arena_text(self->memory, text->data != NULL ? text->data : "");
    self->failed = self->failed || kept == NULL || !buffer_ok(text);
    buffer_free(text);
    return kept;
}

static void add_patterns(buffer *out, const char *before, const policy_patterns *list) {
    for (size_t i = 0; i < list->count; i++)
        buffer_format(out, "%s%s", i > 0 ? ", " : before, list->items[i]);
}

static const char *patterns_text(finding *self, const policy_patterns *list) {
    buffer text;
    buffer_init(&text, TEXT_BYTES);
    add_patterns(&text, "", list);
    return keep(self, &text);
}

static void add_selector(buffer *out, const policy_selector *selector) {
    buffer_text(out, selector->name);
    add_patterns(out, " kind ", &selector->kinds);
    add_patterns(out, " environment ", &selector->environments);
    add_patterns(out, " namespace ", &selector->namespaces);
    add_patterns(out, " zone ", &selector->zones);
    add_patterns(out, " owner ", &selector->owners);
    const char *before = " tier ";
    for (unsigned tier = 1; tier <= 32; tier++)
        if ((selector->tiers >> (tier - 1) & 1U) != 0) {
            buffer_format(out, "%s%u", before, tier);
            before = ", ";
        }
    for (size_t i = 0; i < selector->label_count; i++)
        buffer_format(out, " %s=%s", selector->labels[i].name, selector->labels[i].value);
}

static const char *targets_text(finding *self, const policy_rule *rule) {
    buffer text;
    buffer_init(&text, TEXT_BYTES);
    for (size_t i = 0; i < rule->target_count; i++) {
        buffer_text(&text, i > 0 ? "; " : "");
        add_selector(&text, &rule->targets[i]);
    }
    return keep(self, &text);
}

static const char *windows_text(finding *self, const policy_rule *rule) {
    buffer text;
    buffer_init(&text, TEXT_BYTES);
    policy_windows_print(rule, &text);
    return keep(self, &text);
}

static const char *bounds_text(finding *self, const policy_bounds *bounds) {
    buffer text;
    buffer_init(&text, TEXT_BYTES);
    for (int kind = 0; kind < POLICY_BOUND_COUNT; kind++)
        if (bounds->of[kind].stated)
            buffer_format(&text, "%s%s %g", text.size > 0 ? ", " : "",
                          policy_bound_name((policy_bound_kind)kind), bounds->of[kind].most);
    return keep(self, &text);
}

static void rule_document(finding *self, const policy_rule *rule, document *out) {
    out->name = rule->name;
    put(out, "effect", policy_effect_name(rule->effect));
    put(out, "severity", policy_severity_name(rule->severity));
    put(out, "verbs", patterns_text(self, &rule->verbs));
    put(out, "targets", targets_text(self, rule));
    put(out, "agents", patterns_text(self, &rule->agents));
    put(out, "models", patterns_text(self, &rule->models));
    put(out, "windows", windows_text(self, rule));
    put(out, "condition", rule->condition);
    put(out, "bounds", bounds_text(self, &rule->bounds));
    put(out, "quorum", rule->quorum);
    put(out, "message", rule->message);
    put(out, "description", rule->description);
}

static const char *groups_text(finding *self, const policy_quorum *quorum) {
    buffer text;
    buffer_init(&text, TEXT_BYTES);
    for (size_t i = 0; i < quorum->group_count; i++) {
        const policy_quorum_group *group = &quorum->groups[i];
        buffer_format(&text, "%s%u of %s (", i > 0 ? "; " : "", group->at_least, group->name);
        add_patterns(&text, "", &group->members);
        buffer_text(&text, ")");
    }
    return keep(self, &text);
}

static void quorum_document(finding *self, const policy_quorum *quorum, document *out) {
    out->name = quorum->name;
    put(out, "groups", groups_text(self, quorum));
    put(out, "humans", arena_format(self->memory, "%u", quorum->humans));
    put(out, "model_families", arena_format(self->memory, "%u", quorum->model_families));
    put(out, "expires", arena_format(self->memory, "%llu s", (unsigned long long)quorum->expires_s));
    put(out, "veto", patterns_text(self, &quorum->veto));
}

static void rate_limit_document(finding *self, const policy_rate_limit *limit, document *out) {
    out->name = limit->name;
    put(out, "verbs", patterns_text(self, &limit->verbs));
    put(out, "targets", patterns_text(self, &limit->targets));
    put(out, "agents", patterns_text(self, &limit->agents));
    put(out, "per",
        arena_format(self->memory, "%s%s%s", limit->per_target ? "target " : "",
                     limit->per_verb ? "verb " : "", limit->per_agent ? "agent" : ""));
    put(out, "most",
        arena_format(self->memory, "%u in %llu s", limit->most, (unsigned long long)limit->window_s));
}

static void stage_document(finding *self, const policy_stage_rule *stage, document *out) {
    out->name = stage->name;
    put(out, "targets", patterns_text(self, &stage->targets));
    put(out, "stage", policy_stage_name(stage->stage));
}

static void zone_document(finding *self, const policy_zone *zone, document *out) {
    out->name = zone->name;
    put(out, "targets", patterns_text(self, &zone->targets));
    put(out, "reaches", patterns_text(self, &zone->reaches));
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const document *)a)->name, ((const document *)b)->name);
}

typedef enum document_kind { RULES, QUORUMS, RATE_LIMITS, STAGES, ZONES, KINDS } document_kind;

static size_t count_of(const policy_set *set, document_kind kind) {
    const size_t counts[KINDS] = {set->rule_count, set->quorum_count, set->rate_limit_count, set->stage_count,
                                  set->zone_count};
    return counts[kind];
}

static documents documents_of(finding *self, const policy_set *set, document_kind kind) {
    size_t count = count_of(set, kind);
    documents made = {.items = arena_zero(self->memory, count + 1, sizeof *made.items)};
    self->failed = self->failed || made.items == NULL;
    for (size_t i = 0; i < count && !self->failed; i++) {
        document *out = &made.items[made.count++];
        if (kind == RULES)
            rule_document(self, &set->rules[i], out);
        else if (kind == QUORUMS)
            quorum_document(self, &set->quorums[i], out);
        else if (kind == RATE_LIMITS)
            rate_limit_document(self, &set->rate_limits[i], out);
        else if (kind == STAGES)
            stage_document(self, &set->stages[i], out);
        else
            zone_document(self, &set->zones[i], out);
        self->failed = self->failed || out->broken;
    }
    if (made.items != NULL)
        qsort(made.items, made.count, sizeof *made.items, by_name);
    return made;
}

/* ---- comparing ---- */

static void add(finding *self, policy_difference difference) {
    if (self->out->count == self->room) {
        size_t wider = self->room == 0 ? 64 : self->room * 2;
        policy_difference *items = arena_alloc(self->memory, wider * sizeof *items);
        if (items == NULL) {
            self->failed = true;
            return;
        }
        if (self->out->count > 0)
            memcpy(items, self->out->items, self->out->count * sizeof *items);
        self->out->items = items;
        self->room = wider;
    }
    self->out->items[self->out->count++] = difference;
}

static void compare_members(finding *self, const char *kind, const document *before, const document *after) {
    for (size_t i = 0; i < before->count; i++)
        if (strcmp(before->members[i].text, after->members[i].text) != 0)
            add(self, (policy_difference){.sign = DIFFERENCE_CHANGED,
                                          .kind = kind,
                                          .name = after->name,
                                          .member = after->members[i].name,
                                          .before = before->members[i].text,
                                          .after = after->members[i].text});
}

static void add_whole(finding *self, difference_sign sign, const char *kind, const document *one) {
    const char *what = one->members[0].text;
    add(self, (policy_difference){.sign = sign,
                                  .kind = kind,
                                  .name = one->name,
                                  .member = "",
                                  .before = sign == DIFFERENCE_REMOVED ? what : "",
                                  .after = sign == DIFFERENCE_ADDED ? what : ""});
}

/* Both are sorted by name. */
static void compare(finding *self, const char *kind, const documents *before, const documents *after) {
    size_t i = 0, j = 0;
    while (i < before->count || j < after->count) {
        int order = i == before->count  ? 1
                    : j == after->count ? -1
                                        : strcmp(before->items[i].name, after->items[j].name);
        if (order < 0)
            add_whole(self, DIFFERENCE_REMOVED, kind, &before->items[i++]);
        else if (order > 0)
            add_whole(self, DIFFERENCE_ADDED, kind, &after->items[j++]);
        else
            compare_members(self, kind, &before->items[i++], &after->items[j++]);
    }
}

static void compare_sets(finding *self, const policy_set *before, const policy_set *after) {
    document old = {.name = before->name}, new = {.name = after->name};
    put(&old, "name", before->name);
    put(&new, "name", after->name);
    put(&old, "version", arena_format(self->memory, "%llu", (unsigned long long)before->version));
    put(&new, "version", arena_format(self->memory, "%llu", (unsigned long long)after->version));
    put(&old, "description", before->description);
    put(&new, "description", after->description);
    self->failed = self->failed || old.broken || new.broken;
    compare_members(self, "PolicySet", &old, &new);
}

status_code policy_differences_find(const policy_set *before, const policy_set *after, arena *memory,
                                    policy_differences *out, failure *why) {
    static const char *const names[KINDS] = {"Policy", "Quorum", "RateLimit", "Stage", "Zone"};
    policy_differences found = {0};
    finding self = {.memory = memory, .out = &found};
    compare_sets(&self, before, after);
    for (int kind = 0; kind < KINDS && !self.failed; kind++) {
        documents old = documents_of(&self, before, (document_kind)kind);
        documents new = documents_of(&self, after, (document_kind)kind);
        if (!self.failed)
            compare(&self, names[kind], &old, &new);
    }
    if (self.failed)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to compare the policies");
    *out = found;
    return STATUS_OK;
}
