/* Patterns of the policy set over names, verbs and principals: `*` matches any run of characters, also none
 * and also
 * '/'; everything else matches itself. Pure; thread-safe. */
#ifndef POLICY_PATTERN_H
#define POLICY_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

/* Linear in practice and never worse than strlen(pattern) * strlen(text): both are bounded by
 * LIMIT_NAME_BYTES. */
bool pattern_matches(const char *pattern, const char *text);
bool pattern_matches_any(char *const *patterns, size_t count, const char *text);

#endif
