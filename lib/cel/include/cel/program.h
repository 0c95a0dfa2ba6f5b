/* From text to a program, from a program to a value.
 *
 *     cel_program *program = NULL;
 *     if (cel_compile(environment, bytes_of_text("size(name) > 3"), NULL, &program, &why) != STATUS_OK)
 *         return …;                                        // why.message: line, column, caret
 *     cel_value values[] = {cel_text("checkout", 8)};      // by slot
 *     cel_run run = {.values = values, .count = 1, .memory = &scratch};
 *     cel_value result;
 *     if (cel_evaluate(program, &run, &result, &why) != STATUS_OK)
 *         …                                                // stopped: cost or memory
 *     else if (result.kind == CEL_ERROR) …                 // the expression's own error: cel_error_describe
 *
 * A program is immutable: any number of threads evaluate it, each with a cel_run and an arena of its own. */
#ifndef CEL_PROGRAM_H
#define CEL_PROGRAM_H

#include "cel/environment.h"

#define CEL_SOURCE_BYTES 65536U /* default bound of an expression */
#define CEL_DEPTH 250U          /* nested parentheses, calls, lists, … */
#define CEL_HEIGHT 1000U        /* levels of the tree: a chain of 1,000 additions or selections */
#define CEL_PATTERN_BYTES 4096U /* a regular expression */
#define CEL_COST_LIMIT 1000000U /* default */
#define CEL_COST_UNBOUNDED UINT64_MAX

typedef struct cel_program cel_program;

typedef struct cel_options {
    uint32_t source_bytes; /* 0: CEL_SOURCE_BYTES */
    bool unchecked; /* no type check: unknown names and wrong types become errors when they are evaluated */
    const cel_type *result; /* what the expression must yield; NULL: anything */
    uint32_t largest;       /* elements of the largest list, map or text that the host will hand in: makes the
                               estimate finite */
} cel_options;

/* Estimated cost: one unit is about one step of the program, a comparison of 64 bytes, an element visited. */
typedef struct cel_cost {
    uint64_t least;
    uint64_t most; /* CEL_COST_UNBOUNDED when sizes are not known */
} cel_cost;

/* INVALID_ARGUMENT with reasons CEL_TOO_LONG, CEL_SYNTAX, CEL_TYPE_ERROR; why->message carries "line:column:
 * what", the line and a caret. RESOURCE_EXHAUSTED without memory. `options` may be NULL. *program is the
 * caller's. */
status_code cel_compile(const cel_environment *environment, bytes source, const cel_options *options,
                        cel_program **program, failure *why) MUST_USE;
void cel_program_free(cel_program *self); /* takes NULL */

/* Parses and checks only; the type is made in `memory`. */
status_code cel_check(const cel_environment *environment, bytes source, const cel_options *options,
                      arena *memory, const cel_type **type, failure *why) MUST_USE;

const cel_type *cel_program_type(const cel_program *self); /* dyn when unchecked */
cel_cost cel_program_cost(const cel_program *self);
bytes cel_program_source(const cel_program *self);
/* Whether the program can read variable `slot`. */
bool cel_program_reads(const cel_program *self, uint32_t slot);

/* One evaluation. Variables come from `values` by slot, or from `get` when values is NULL; a slot beyond
 * `count` is unknown. */
typedef struct cel_run {
    const cel_value *values;
    uint32_t count;
    cel_value (*get)(void *self, uint32_t slot);
    void *self;
    arena *memory;       /* for what the result and intermediate texts, lists and maps need; not reset here */
    uint64_t cost_limit; /* 0: CEL_COST_LIMIT */
    uint64_t cost;       /* out: what it took */
} cel_run;

/* STATUS_OK with a result, which may be CEL_ERROR or CEL_UNKNOWN; RESOURCE_EXHAUSTED with reason CEL_COST or
 * CEL_MEMORY when it was stopped. The result may point into run->memory, the program, and what the host
 * handed in. */
status_code cel_evaluate(const cel_program *program, cel_run *run, cel_value *result, failure *why) MUST_USE;

/* Fills `why` from an error value: message with line, column and caret. Returns INVALID_ARGUMENT. */
status_code cel_error_describe(const cel_program *program, cel_value error, failure *why);

#endif
