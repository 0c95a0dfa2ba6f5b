/* What is done once for a call whose argument is constant, and what the static estimate of cost is. */
#ifndef CEL_PREPARE_H
#define CEL_PREPARE_H

#include "code.h"

/* A compiled expression for matches(), a loaded zone for getHours('Europe/Zurich'); NULL when there is
 * nothing to prepare or it cannot be (the call says why when it is evaluated). Freed by prepare_free, which
 * takes NULL. */
void *prepare_call(arena *memory, const node *call);
bool prepare_is_regex(const node *call);
void prepare_free(void *prepared); /* of a regular expression; zones live in the arena */

cel_cost cost_estimate(const node *tree, uint32_t largest, uint32_t instructions);

/* Whether the prepared expression matches somewhere in the text. */
bool prepared_search(const void *prepared, cel_value text);

#endif
