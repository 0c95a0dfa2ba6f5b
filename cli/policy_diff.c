/* interlock policy diff: what two policy sets say differently. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "policy_commands.h"
#include "policy_difference.h"
#include "policy_files.h"

static const char *sign_word(difference_sign sign) {
    static const char *const words[] = {"added", "removed", "changed"};
    return words[sign];
}

static void print_differences(cli *self, const policy_differences *found) {
    static const char signs[] = {'+', '-', '~'};
    arena *memory = &self->memory;
    const char *last = "";
    for (size_t i = 0; i < found->count; i++) {
        const policy_difference *one = &found->items[i];
        const char *what = arena_format(memory, "%s %s", one->kind, cli_safe(memory, one->name));
        if (one->member[0] == '\0') {
            printf("%c %s (%s)\n", signs[one->sign], what,
                   cli_safe(memory, one->sign == DIFFERENCE_ADDED ? one->after : one->before));
            continue;
        }
        if (what != NULL && strcmp(what, last) != 0)
            printf("~ %s\n", what);
        last = what != NULL ? what : "";
        printf("    %s: %s → %s\n", one->member,
               one->before[0] != '\0' ? cli_safe(memory, one->before) : "(none)",
               one->after[0] != '\0' ? cli_safe(memory, one->after) : "(none)");
    }
    if (found->count == 0)
        puts("The two say the same.");
}

static void print_json(const policy_differences *found) {
    json_t *list = json_array();
    for (size_t i = 0; i < found->count; i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "change",
                                        sign_word(found->items[i].sign), "kind", found->items[i].kind, "name",
                                        found->items[i].name, "member", found->items[i].member, "before",
                                        found->items[i].before, "after", found->items[i].after));
    json_t *whole = json_pack("{s:o}", "differences", list);
    json_dumpf(whole, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(whole);
}

cli_exit policy_diff_run(cli *self) {
    failure why = {0};
    policy_versions versions = {0};
    policy_problems problems = {0};
    policy_set *before = NULL, *after = NULL;
    policy_differences found = {0};
    cli_exit result = CLI_OK;
    status_code code = policy_set_named(self, self->positional.items[0], &versions, &before, &problems, &why);
    if (code == STATUS_OK)
        code = policy_set_named(self, self->positional.items[1], &versions, &after, &problems, &why);
    if (code == STATUS_OK)
        code = policy_differences_find(before, after, &self->memory, &found, &why);
    if (code != STATUS_OK)
        result = policy_files_fail("policy diff", &problems, &why);
    else if (self->format == FORMAT_JSON)
        print_json(&found);
    else
        print_differences(self, &found);
    if (result == CLI_OK && cli_given(self, "exit-code") && found.count > 0)
        result = CLI_ERROR;
    policies_unref(before);
    policies_unref(after);
    policy_versions_free(&versions);
    return result;
}
