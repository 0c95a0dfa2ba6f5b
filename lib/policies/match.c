/* See match.h. */
#include "match.h"

#include <stdio.h>
#include <string.h>

/* A target that a selector might cover, if only a fact of it were known. */
typedef enum cover { COVER_NO, COVER_YES, COVER_UNKNOWN } cover;

static const char *text_of(const char *text) {
    return text == NULL ? "" : text;
}

/* Part 0 to 2 of a node's name against patterns, without copying it longer than a name can be. */
static bool part_matches(const policy_patterns *patterns, const char *name, int part) {
    static const char ends[] = ":///";
    char text[257];
    for (int i = 0; i < part; i++) {
        const char *end = strchr(name, ends[i]);
        if (end == NULL)
            return false;
        name = end + 1;
    }
    size_t size = strcspn(name, part == 0 ? ":" : "/");
    if (size >= sizeof text)
        return false;
    memcpy(text, name, size);
    text[size] = '\0';
    return policy_patterns_match(patterns, text);
}

static cover both(cover left, cover right) {
    if (left == COVER_NO || right == COVER_NO)
        return COVER_NO;
    return left == COVER_UNKNOWN || right == COVER_UNKNOWN ? COVER_UNKNOWN : COVER_YES;
}

static cover text_cover(const policy_patterns *patterns, const char *text, const char *what,
                        const char **fact) {
    if (patterns->count == 0)
        return COVER_YES;
    if (text == NULL) {
        *fact = what;
        return COVER_UNKNOWN;
    }
    return policy_patterns_match(patterns, text) ? COVER_YES : COVER_NO;
}

static cover tier_cover(uint32_t tiers, uint32_t tier, const char **fact) {
    if (tiers == 0)
        return COVER_YES;
    if (tier == 0) {
        *fact = "targets.tier";
        return COVER_UNKNOWN;
    }
    return tier <= 32 && (tiers & (1U << (tier - 1))) != 0 ? COVER_YES : COVER_NO;
}

static bool label_matches(const policy_pair *wanted, const policy_pairs *labels) {
    for (size_t i = 0; i < labels->count; i++)
        if (strcmp(labels->items[i].name, wanted->name) == 0 &&
            policy_pattern_matches(wanted->value, text_of(labels->items[i].value)))
            return true;
    return false;
}

static cover labels_cover(const policy_selector *selector, const policy_target *target, const char **fact) {
    if (selector->label_count == 0)
        return COVER_YES;
    if (!target->labels.known) {
        *fact = "targets.labels";
        return COVER_UNKNOWN;
    }
    for (size_t i = 0; i < selector->label_count; i++)
        if (!label_matches(&selector->labels[i], &target->labels))
            return COVER_NO;
    return COVER_YES;
}

static bool name_covers(const policy_selector *selector, const char *name) {
    return policy_pattern_matches(selector->name, name) &&
           (selector->kinds.count == 0 || part_matches(&selector->kinds, name, 0)) &&
           (selector->environments.count == 0 || part_matches(&selector->environments, name, 1)) &&
           (selector->namespaces.count == 0 || part_matches(&selector->namespaces, name, 2));
}

static cover selector_covers(const policy_selector *selector, const policy_target *target,
                             const policy_set *set, const char **fact) {
    if (!name_covers(selector, target->name))
        return COVER_NO;
    const char *absent = NULL;
    const char *zone = selector->zones.count == 0 ? NULL : zone_of(set, target->name, target->zone);
    cover result = text_cover(&selector->zones, zone, "targets.zone", &absent);
    result = both(result, text_cover(&selector->owners, target->owner, "targets.owner", &absent));
    result = both(result, tier_cover(selector->tiers, target->tier, &absent));
    result = both(result, labels_cover(selector, target, &absent));
    if (result == COVER_UNKNOWN)
        *fact = absent;
    return result;
}

static cover target_cover(const policy_rule *rule, const policy_target *target, const policy_set *set,
                          const char **fact) {
    cover result = COVER_NO;
    for (size_t i = 0; i < rule->target_count; i++) {
        cover one = selector_covers(&rule->targets[i], target, set, fact);
        if (one == COVER_YES)
            return COVER_YES;
        if (one == COVER_UNKNOWN)
            result = COVER_UNKNOWN;
    }
    return result;
}

/* What permits must cover for certain; what restricts does so when it covers anything. */
static void cover_targets(const policy_rule *rule, const frame *facts, coverage *out) {
    bool permits = rule->effect == POLICY_EFFECT_PERMIT || rule->effect == POLICY_EFFECT_REVIEW;
    const char *fact = NULL;
    bool unknown = false;
    for (size_t i = 0; i < facts->facts->target_count && i < POLICIES_TARGETS; i++) {
        cover one = target_cover(rule, &facts->facts->targets[i], facts->set, &fact);
        if (one == COVER_YES)
            out->targets |= 1ULL << i;
        unknown = unknown || one == COVER_UNKNOWN;
    }
    if (unknown && (permits || out->targets == 0))
        out->fact = fact;
    else if (out->targets == 0)
        out->part = "targets";
}

static bool model_matches(const policy_patterns *models, const policy_agent_facts *agent) {
    char text[1024];
    (void)snprintf(text, sizeof text, "%s/%s/%s", text_of(agent->model_provider), text_of(agent->model_name),
                   text_of(agent->model_version));
    return policy_patterns_match(models, text);
}

/* Minutes since Sunday 00:00; a time of day in [from, to), the day being that on which the window begins. */
static bool window_holds(const policy_window *window, int64_t minute_of_week) {
    int64_t day = minute_of_week / 1440, minute = minute_of_week % 1440;
    bool today = (window->days & (1U << day)) != 0;
    bool yesterday = (window->days & (1U << ((day + 6) % 7))) != 0;
    if (window->from < window->to)
        return today && minute >= window->from && minute < window->to;
    return (today && minute >= window->from) || (yesterday && minute < window->to);
}

static bool windows_hold(const policy_rule *rule, const frame *facts, const char **fact) {
    for (size_t i = 0; i < rule->window_count; i++) {
        cel_run run = {.values = facts->values, .count = SLOT_COUNT, .memory = facts->memory};
        cel_value minute;
        if (cel_evaluate(rule->windows[i].minute, &run, &minute, NULL) != STATUS_OK ||
            minute.kind != CEL_INT) {
            *fact = "now";
            return false;
        }
        if (window_holds(&rule->windows[i], minute.integer))
            return true;
    }
    return rule->window_count == 0;
}

coverage rule_cover(const policy_rule *rule, const frame *facts, bool certain) {
    coverage out = {.targets = certain ? 1 : 0};
    if (!certain && !policy_patterns_match(&rule->verbs, text_of(facts->facts->action.verb)))
        out.part = "verbs";
    else if (rule->agents.count > 0 &&
             !policy_patterns_match(&rule->agents, text_of(facts->facts->agent.principal)))
        out.part = "agents";
    else if (rule->models.count > 0 && !model_matches(&rule->models, &facts->facts->agent))
        out.part = "models";
    else if (rule->window_count > 0 && !windows_hold(rule, facts, &out.fact))
        out.part = out.fact == NULL ? "windows" : NULL;
    else if (!certain)
        cover_targets(rule, facts, &out);
    return out;
}
