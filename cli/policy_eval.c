/* interlock policy eval: one CEL expression over values from a file, for trying things. */
#include <stdlib.h>
#include <string.h>

#include "cel/program.h"
#include "facts_reader.h"
#include "policies/explain.h"
#include "policy_commands.h"
#include "values.h"

#define EXPRESSION_BYTES CEL_SOURCE_BYTES
#define CONTEXT_BYTES (16U << 20)
#define NAMES_MAX 256U
#define SHOWN_ELEMENTS 1000U

typedef struct trial {
    cel_environment *environment;
    cel_program *program;
    json_t *context;
    cel_value values[NAMES_MAX];
    uint32_t count;
    double cost_limit;
    uint64_t cost;
    cel_value result;
} trial;

static status_code declare(trial *self, const char *name, cel_value value, failure *why) {
    uint32_t slot = 0;
    if (self->count == NAMES_MAX)
        return fail(why, STATUS_INVALID_ARGUMENT, "TOO_MANY_NAMES", "more than %u variables", NAMES_MAX);
    status_code code = cel_environment_variable(self->environment, name, &cel_type_dyn, &slot, why);
    if (code == STATUS_OK)
        self->values[self->count++] = value;
    return code;
}

static status_code read_context(cli *self, trial *work, const char *path, failure *why) {
    bytes text = {0};
    json_error_t error;
    const char *name = NULL;
    json_t *member = NULL;
    status_code code = cli_read_file(self, path, CONTEXT_BYTES, &text, why);
    if (code != STATUS_OK)
        return code;
    work->context =
        json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (work->context == NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "CONTEXT_INVALID", "%.200s:%d:%d: %s", path, error.line,
                    error.column, error.text);
    if (!json_is_object(work->context))
        return fail(why, STATUS_INVALID_ARGUMENT, "CONTEXT_INVALID",
                    "%.200s is not a JSON object, whose members become variables", path);
    json_object_foreach(work->context, name, member) {
        cel_value value;
        code = values_from_json(member, &self->memory, &value, why);
        if (code == STATUS_OK)
            code = declare(work, name, value, why);
        if (code != STATUS_OK)
            return fail_within(why, code, "%.200s", path);
    }
    return STATUS_OK;
}

static status_code evaluate_expression(cli *self, trial *work, bytes source, failure *why) {
    status_code code = cel_compile(work->environment, source, NULL, &work->program, why);
    if (code != STATUS_OK)
        return code;
    cel_run run = {.values = work->values,
                   .count = work->count,
                   .memory = &self->memory,
                   .cost_limit = (uint64_t)work->cost_limit};
    code = cel_evaluate(work->program, &run, &work->result, why);
    work->cost = run.cost;
    if (code == STATUS_OK && work->result.kind == CEL_ERROR)
        return cel_error_describe(work->program, work->result, why);
    return code;
}

static status_code try_expression(cli *self, trial *work, failure *why) {
    const char *source = self->positional.items[0];
    const char *context = cli_text(self, "context");
    const cli_values *absent = cli_list(self, "unknown");
    bytes text = bytes_of_text(source);
    work->environment = cel_environment_new("");
    if (work->environment == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the environment");
    status_code code = STATUS_OK;
    if (strcmp(source, "-") == 0)
        code = cli_read_file(self, source, EXPRESSION_BYTES + 1, &text, why);
    if (code == STATUS_OK && context != NULL)
        code = read_context(self, work, context, why);
    for (size_t i = 0; i < absent->count && code == STATUS_OK; i++)
        code = declare(work, absent->items[i], cel_unknown(absent->items[i]), why);
    return code == STATUS_OK ? evaluate_expression(self, work, text, why) : code;
}

static cli_exit print_result(const cli *self, const trial *work) {
    bool unknown = work->result.kind == CEL_UNKNOWN;
    json_t *value = unknown ? json_null() : values_to_json(work->result, SHOWN_ELEMENTS);
    json_t *shown = value;
    if (self->format == FORMAT_JSON)
        shown = json_pack("{s:o, s:s, s:I, s:s*}", "value", value, "type",
                          cel_kind_name((cel_kind)work->result.kind), "cost", (json_int_t)work->cost,
                          "unknown", unknown ? work->result.text : NULL);
    if (unknown && self->format != FORMAT_JSON)
        printf("unknown: %s\n", work->result.text);
    else
        json_dumpf(shown, stdout, JSON_ENCODE_ANY | JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    if (!unknown || self->format == FORMAT_JSON)
        putchar('\n');
    json_decref(shown);
    return unknown ? CLI_DEFER : CLI_OK;
}

/* Over the facts of an action, as a policy's condition reads them. */
static cli_exit eval_facts(cli *self) {
    failure why = {0};
    policy_facts facts = {.now_ms = chance_wall_ms(self->source)};
    yaml_source source = {.file = cli_text(self, "facts"), .memory = &self->memory};
    const char *type = NULL, *value = NULL;
    status_code code = cli_read_file(self, source.file, YAML_FILE_BYTES, &source.text, &why);
    if (code == STATUS_OK)
        code = facts_read_file(&source, &facts, &why);
    if (code == STATUS_OK)
        code = policies_try(NULL, bytes_of_text(self->positional.items[0]), &facts, &self->memory, &type,
                            &value, &why);
    if (code != STATUS_OK)
        return cli_fail("policy eval", &why);
    bool unknown = strncmp(value, "unknown", 7) == 0;
    if (self->format == FORMAT_JSON) {
        json_t *shown = json_pack("{s:s, s:s, s:b}", "type", type, "text", value, "unknown", unknown);
        json_dumpf(shown, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(shown);
    } else {
        puts(cli_safe(&self->memory, value));
    }
    return unknown ? CLI_DEFER : CLI_OK;
}

cli_exit policy_eval_run(cli *self) {
    failure why = {0};
    if (cli_given(self, "facts") && (cli_given(self, "context") || cli_given(self, "unknown"))) {
        fail(&why, STATUS_INVALID_ARGUMENT, "FLAGS_CONFLICT",
             "--facts stands alone: what it leaves out is absent");
        return cli_usage(self, &why);
    }
    if (cli_given(self, "facts"))
        return eval_facts(self);
    trial *work = arena_zero(&self->memory, 1, sizeof *work);
    if (work == NULL)
        return CLI_ERROR;
    work->cost_limit = CEL_COST_LIMIT;
    if (cli_number(self, "cost-limit", 1, 1e12, &work->cost_limit, &why) != STATUS_OK)
        return cli_usage(self, &why);
    status_code code = try_expression(self, work, &why);
    cli_exit result = code == STATUS_OK ? print_result(self, work) : cli_fail("policy eval", &why);
    cel_program_free(work->program);
    cel_environment_free(work->environment);
    json_decref(work->context);
    return result;
}
