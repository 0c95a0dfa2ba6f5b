/* Our side of bench/peers: policies/ten.yaml on the inputs that the other engines get, measured as they are.
 *     peers_bench POLICY.yaml INPUTS.json [MS]
 * One JSON line: the time an evaluation (the best of five rounds) and the verdicts, A or D for each input. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"
#include "policies/policies.h"

#define INPUTS_MAX 64U
#define SERVICES_MAX 64U
#define FILE_BYTES (1U << 20)

typedef struct input {
    policy_facts facts;
    policy_pair version;
    policy_target target;
} input;

static failure why;
static policy_affected affected[SERVICES_MAX];

static const char *text_of(const json_t *part, const char *key) {
    const char *text = json_string_value(json_object_get(part, key));
    return text != NULL ? text : "";
}

static void fill(input *out, const json_t *json) {
    const json_t *action = json_object_get(json, "action"), *agent = json_object_get(json, "agent"),
                 *target = json_object_get(json, "target"), *impact = json_object_get(json, "impact");
    size_t services = (size_t)json_integer_value(json_object_get(impact, "services"));
    out->version = (policy_pair){"version", text_of(action, "version")};
    out->target = (policy_target){.name = text_of(target, "name"),
                                  .tier = (uint32_t)strtoul(text_of(target, "tier"), NULL, 10)};
    out->facts = (policy_facts){
        .action = {.verb = text_of(action, "verb"),
                   .actor_kind = "agent",
                   .percent = json_number_value(json_object_get(action, "percent")),
                   .reversal_verb = text_of(action, "reversal"),
                   .arguments = &out->version,
                   .argument_count = 1},
        .agent = {.principal = text_of(agent, "principal"), .model_provider = text_of(agent, "provider")},
        .targets = &out->target,
        .target_count = 1,
        .impact = {.known = true,
                   .high = json_number_value(json_object_get(impact, "high")),
                   .affected = affected,
                   .affected_count = services < SERVICES_MAX ? services : SERVICES_MAX},
        .now_ms = 1700000000000};
}

static policy_set *load(const char *path) {
    static char text[FILE_BYTES];
    arena memory;
    policy_set *set = NULL;
    policy_problems problems = {0};
    FILE *file = fopen(path, "re");
    if (file == NULL)
        give_up(path);
    const policy_source source = {path, bytes_of(text, fread(text, 1, sizeof text, file))};
    fclose(file);
    arena_init(&memory, 65536, 16U << 20);
    if (policies_load(&source, 1, &memory, &set, &problems, &why) != STATUS_OK)
        give_up(why.message);
    arena_free(&memory);
    return set;
}

static void rounds(const policy_set *set, const input *inputs, size_t count, uint64_t duration_ns,
                   arena *memory, double *us) {
    uint64_t begin = process_cpu_ns(getpid()), spent = 0, done = 0;
    policy_result result;
    while (spent < duration_ns) {
        for (unsigned i = 0; i < 4096; i++, done++) {
            arena_reset(memory);
            if (policies_evaluate(set, &inputs[done % count].facts, memory, &result, &why) != STATUS_OK)
                give_up(why.message);
        }
        spent = process_cpu_ns(getpid()) - begin;
    }
    *us = (double)spent / 1000 / (double)done;
}

int main(int argc, char **argv) {
    static input inputs[INPUTS_MAX];
    char verdicts[INPUTS_MAX + 1] = "";
    json_t *all = argc > 2 ? json_load_file(argv[2], 0, NULL) : NULL;
    size_t count = json_array_size(all);
    double milliseconds = argc > 3 ? strtod(argv[3], NULL) : 1000, best = 1e9, us = 0;
    arena memory;
    if (count == 0 || count > INPUTS_MAX)
        give_up("usage: peers_bench POLICY.yaml INPUTS.json [MS]");
    policy_set *set = load(argv[1]);
    arena_init(&memory, 65536, 1U << 20);
    for (size_t i = 0; i < count; i++) {
        policy_result result;
        fill(&inputs[i], json_array_get(all, i));
        arena_reset(&memory);
        if (policies_evaluate(set, &inputs[i].facts, &memory, &result, &why) != STATUS_OK)
            give_up(why.message);
        verdicts[i] = result.outcome == POLICY_ALLOW ? 'A' : 'D';
    }
    for (int round = 0; round < 6; round++) {
        rounds(set, inputs, count, (uint64_t)(milliseconds * 1e6 / 6), &memory, &us);
        best = round > 0 && us < best ? us : best;
    }
    printf("{\"peer\":\"interlock\",\"us\":%.4f,\"verdicts\":\"%s\"}\n", best, verdicts);
    arena_free(&memory);
    policies_unref(set);
    json_decref(all);
    return 0;
}
