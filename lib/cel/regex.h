/* The door to RE2, whose matching takes linear time and bounded memory. Callable from C. */
#ifndef CEL_REGEX_H
#define CEL_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct regex regex;

/* NULL when the pattern is malformed or would need more than 1 MiB. */
regex *regex_compile(const char *pattern, size_t size);
void regex_free(regex *self); /* takes NULL */
/* Whether the pattern matches somewhere in the text. Thread-safe. */
bool regex_search(const regex *self, const char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
