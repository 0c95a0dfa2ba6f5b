/* The name and the version that policy documents state: what their signed statement repeats. */
#include <string.h>

#include "cli.h"
#include "policies/policies.h"

status_code cli_policy_metadata(bytes document, const char *path, char name[129], uint64_t *version,
                                failure *why) {
    arena memory;
    policy_set *set = NULL;
    policy_problems problems = {0};
    const policy_source source = {.file = path, .text = document};
    arena_init(&memory, 65536, POLICIES_TEXT_BYTES);
    status_code code = policies_load(&source, 1, &memory, &set, &problems, why);
    if (code == STATUS_OK) {
        snprintf(name, 129, "%s", set->name);
        *version = set->version;
    }
    policies_unref(set);
    arena_free(&memory);
    return code;
}
