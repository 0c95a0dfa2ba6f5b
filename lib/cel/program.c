/* Programs: made from text, asked about, freed. */
#include <stdlib.h>
#include <string.h>

#include "code.h"
#include "parser.h"
#include "prepare.h"

/* Memory while compiling and of a program: enough for any expression of the default length, more for hosts
 * that allow more. */
#define TREE_BYTES (64U << 20)
#define TREE_BYTES_PER_SOURCE_BYTE 256U
#define PROGRAM_BYTES (16U << 20)
#define PROGRAM_BYTES_PER_SOURCE_BYTE 64U

static status_code parse_and_check(const cel_environment *environment, bytes source,
                                   const cel_options *options, arena *memory, node **tree,
                                   const cel_type **type, failure *why) {
    status_code code = cel_parse(
        source, options->source_bytes == 0 ? CEL_SOURCE_BYTES : options->source_bytes, memory, tree, why);
    if (code == STATUS_OK)
        code = check_tree(environment, source, options->unchecked, memory, *tree, type, why);
    if (code != STATUS_OK || options->result == NULL || options->unchecked ||
        cel_type_equal(*type, options->result) || (*type)->kind == CEL_TYPE_DYN)
        return code;
    buffer text;
    buffer_init(&text, 4096);
    cel_type_print(options->result, &text);
    buffer_text(&text, ", not ");
    cel_type_print(*type, &text);
    code = source_fail(why, source, (*tree)->offset, STATUS_INVALID_ARGUMENT, "CEL_TYPE_ERROR",
                       "the expression must yield %.150s", buffer_ok(&text) ? text.data : "another type");
    buffer_free(&text);
    return code;
}

static const cel_options DEFAULTS;

status_code cel_check(const cel_environment *environment, bytes source, const cel_options *options,
                      arena *memory, const cel_type **type, failure *why) {
    node *tree = NULL;
    return parse_and_check(environment, source, options == NULL ? &DEFAULTS : options, memory, &tree, type,
                           why);
}

status_code cel_compile(const cel_environment *environment, bytes source, const cel_options *options,
                        cel_program **program, failure *why) {
    arena scratch;
    node *tree = NULL;
    const cel_type *type = NULL;
    if (options == NULL)
        options = &DEFAULTS;
    arena_init(&scratch, 1U << 14, TREE_BYTES + source.size * TREE_BYTES_PER_SOURCE_BYTE);
    status_code code = parse_and_check(environment, source, options, &scratch, &tree, &type, why);
    cel_program *made = code == STATUS_OK ? calloc(1, sizeof *made) : NULL;
    if (made != NULL)
        arena_init(&made->memory, 1024 + source.size * 8,
                   PROGRAM_BYTES + source.size * PROGRAM_BYTES_PER_SOURCE_BYTE);
    if (code == STATUS_OK && (made == NULL || !generate(environment, &scratch, source, tree, type, made)))
        code = fail(why, STATUS_RESOURCE_EXHAUSTED, "CEL_MEMORY", "no memory left to compile the expression");
    if (code == STATUS_OK) {
        made->cost = cost_estimate(tree, options->largest, made->count);
        *program = made;
    } else {
        cel_program_free(made);
    }
    arena_free(&scratch);
    return code;
}

void cel_program_free(cel_program *self) {
    if (self == NULL)
        return;
    prepare_free(self->patterns);
    arena_free(&self->memory);
    free(self);
}

const cel_type *cel_program_type(const cel_program *self) {
    return self->type;
}

cel_cost cel_program_cost(const cel_program *self) {
    return self->cost;
}

bytes cel_program_source(const cel_program *self) {
    return bytes_of(self->source, self->source_size);
}

bool cel_program_reads(const cel_program *self, uint32_t slot) {
    return slot < self->variables && (self->reads[slot / 64] >> slot % 64 & 1) != 0;
}

status_code cel_error_describe(const cel_program *program, cel_value error, failure *why) {
    return source_fail(why, cel_program_source(program), error.kind == CEL_ERROR ? error.size : 0,
                       STATUS_INVALID_ARGUMENT, "CEL_EVALUATION", "%s",
                       error.kind == CEL_ERROR ? error.text : "no error");
}
