/* Telling and drawing the answer to "why". */
#ifndef CLI_WHY_H
#define CLI_WHY_H

#include "cli.h"
#include "client/root_cause_client.h"

typedef Interlock__Graph__V1__RootCauseResponse why_answer;
typedef Interlock__Graph__V1__Hypothesis why_hypothesis;

/* "cart" of service:prod/shop/cart, safe for a terminal. */
const char *why_short_name(arena *memory, const char *node);
const char *why_kind(arena *memory, const why_hypothesis *of);
/* "19:24:50", or "" when it is not known. */
const char *why_clock(arena *memory, int64_t wall_ms);

/* One picture: the path from the cause to the symptom, and below it when each sign was first seen. */
void why_draw(arena *memory, const why_answer *answer, buffer *out);

/* why_confirm.c: signs the hypothesis that --hypothesis names and sends it to memory. */
cli_exit why_confirm(cli *self, rpc_channel *graph, const why_answer *answer);

#endif
