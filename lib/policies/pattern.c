/* Wildcard matching without recursion: a mismatch goes back to the last `*` and gives it one more character.
 */
#include "policies/policies.h"

bool policy_pattern_matches(const char *pattern, const char *text) {
    const char *star = NULL;
    const char *resume = NULL;
    while (*text != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
            if (*star == '\0')
                return true;
            resume = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool policy_patterns_match(const policy_patterns *patterns, const char *text) {
    for (size_t i = 0; i < patterns->count; i++)
        if (policy_pattern_matches(patterns->items[i], text))
            return true;
    return false;
}
