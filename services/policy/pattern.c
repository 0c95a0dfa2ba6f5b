/* Wildcard matching without recursion: a mismatch goes back to the last `*` and gives it one more character.
 */
#include "pattern.h"

bool pattern_matches(const char *pattern, const char *text) {
    const char *star = NULL;
    const char *resume = NULL;
    while (*text != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
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

bool pattern_matches_any(char *const *patterns, size_t count, const char *text) {
    for (size_t i = 0; i < count; i++)
        if (pattern_matches(patterns[i], text))
            return true;
    return false;
}
