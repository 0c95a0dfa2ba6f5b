/* What two policy sets say differently. */
#include <string.h>

#include "policy_difference.h"
#include "policy_sets.h"

#define QUORUM(number)                                                                                       \
    "---\napiVersion: interlock/v1\nkind: Quorum\nmetadata: {name: two}\nspec:\n  groups:\n"                 \
    "    - {name: people, members: [\"operator/*\"], at_least: " number "}\n"
#define STAGE(stage)                                                                                         \
    "---\napiVersion: interlock/v1\nkind: Stage\nmetadata: {name: shop}\nspec: {targets: "                   \
    "[\"service:prod/shop/*\"], stage: " stage "}\n"

static const char before[] = SET_HEAD RULE("a", "permit", "deploy", "  bounds: {entry_traffic: 0.05}\n")
    RULE("gone", "forbid", "restart", "") QUORUM("1") STAGE("advisory");
static const char after[] =
    SET_HEAD RULE("a", "permit", "deploy, restart", "  bounds: {entry_traffic: 0.1, percent: 50}\n")
        RULE("new", "warn", "deploy", "") QUORUM("2") STAGE("constrained");

static const policy_difference *find(const policy_differences *all, const char *kind, const char *name,
                                     const char *member) {
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(all->items[i].kind, kind) == 0 && strcmp(all->items[i].name, name) == 0 &&
            strcmp(all->items[i].member, member) == 0)
            return &all->items[i];
    return NULL;
}

static void every_difference_is_named(void **state) {
    (void)state;
    arena memory;
    failure why = {0};
    policy_differences found = {0};
    policy_set *old = set_of(before), *new = set_of(after);
    arena_init(&memory, 65536, 16U << 20);
    assert_int_equal(policy_differences_find(old, new, &memory, &found, &why), STATUS_OK);
    assert_int_equal(found.count, 6);
    assert_string_equal(find(&found, "Policy", "a", "verbs")->after, "deploy, restart");
    assert_string_equal(find(&found, "Policy", "a", "bounds")->before, "entry_traffic 0.05");
    assert_string_equal(find(&found, "Policy", "a", "bounds")->after, "entry_traffic 0.1, percent 50");
    assert_int_equal(find(&found, "Policy", "gone", "")->sign, DIFFERENCE_REMOVED);
    assert_int_equal(find(&found, "Policy", "new", "")->sign, DIFFERENCE_ADDED);
    assert_string_equal(find(&found, "Quorum", "two", "groups")->after, "2 of people (operator/*)");
    assert_string_equal(find(&found, "Stage", "shop", "stage")->before, "advisory");
    policies_unref(old);
    policies_unref(new);
    arena_free(&memory);
}

#define WINDOW(from)                                                                                         \
    "---\napiVersion: interlock/v1\nkind: Policy\nmetadata: {name: w}\nspec:\n  effect: forbid\n  match: "   \
    "{verbs: [x], targets: [\"*\"], windows: [{days: [fri, sat], from: \"" from                              \
    "\", time_zone: Europe/Berlin}]}\n"

static void windows_are_told_apart(void **state) {
    (void)state;
    arena memory;
    failure why = {0};
    policy_differences found = {0};
    policy_set *old = set_of(SET_HEAD WINDOW("16:00")), *new = set_of(SET_HEAD WINDOW("17:30"));
    arena_init(&memory, 65536, 16U << 20);
    assert_int_equal(policy_differences_find(old, new, &memory, &found, &why), STATUS_OK);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.items[0].member, "windows");
    assert_string_equal(found.items[0].before, "fri sat 16:00-24:00 Europe/Berlin");
    assert_string_equal(found.items[0].after, "fri sat 17:30-24:00 Europe/Berlin");
    policies_unref(old);
    policies_unref(new);
    arena_free(&memory);
}

static void the_same_has_no_difference(void **state) {
    (void)state;
    arena memory;
    failure why = {0};
    policy_differences found = {0};
    policy_set *old = set_of(before), *new = set_of(before);
    arena_init(&memory, 65536, 16U << 20);
    assert_int_equal(policy_differences_find(old, new, &memory, &found, &why), STATUS_OK);
    assert_int_equal(found.count, 0);
    policies_unref(old);
    policies_unref(new);
    arena_free(&memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_difference_is_named),
                                       cmocka_unit_test(windows_are_told_apart),
                                       cmocka_unit_test(the_same_has_no_difference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
