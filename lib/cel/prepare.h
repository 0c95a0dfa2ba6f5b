/* What is done once for a call whose argument is constant, and what the static estimate of cost is. */
#ifndef CEL_PREPARE_H
#define CEL_PREPARE_H

#include "code.h"

/* A compiled expression for matches(), a loaded zone for getHours('Europe/Zurich'); NULL when there is
 * nothing to prepare or it cannot be (the call says why when it is evaluated). It lives with the program,
 * which remembers what must be freed. */
void *prepare_call(cel_program *program, const node *call);
void prepare_free(kept_regex *patterns); /* takes NULL */

cel_cost cost_estimate(const node *tree, uint32_t largest, uint32_t instructions);

/* Whether the prepared expression matches somewhere in the text. */
bool prepared_search(const void *prepared, cel_value text);

#endif
