/* What CEL costs: compiling rules as policies write them, and evaluating one of five terms. One JSON line a
 * figure; --quick for a shorter run. Times are CPU time. cel.evaluate_allocations counts malloc, calloc and
 * realloc during a million evaluations, by interposing them. */
#include <string.h>
#include <unistd.h>

#include "cel/program.h"
#include "load.h"

#define RULES 64U

static uint64_t allocations;
static failure why;

static void must(status_code code) {
    if (code != STATUS_OK)
        give_up(why.message);
}

/* ---- The counter
 * ----------------------------------------------------------------------------------------------- */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *old, size_t size);

void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    allocations++;
    return __libc_realloc(old, size);
}

/* ---- The policy
 * ------------------------------------------------------------------------------------------------ */

enum { ACTION_VERB, ACTION_COUNT, TARGET_ZONE, TARGET_TIER };

typedef struct facts {
    const char *verb;
    int64_t count;
    const char *zone;
    int64_t tier;
} facts;

static bool get_fact(const void *host, uint32_t index, cel_value *value) {
    const facts *self = host;
    switch (index) {
    case ACTION_VERB:
        *value = cel_text(self->verb, strlen(self->verb));
        return true;
    case ACTION_COUNT:
        *value = cel_int(self->count);
        return true;
    case TARGET_ZONE:
        *value = cel_text(self->zone, strlen(self->zone));
        return true;
    default:
        *value = cel_int(self->tier);
        return true;
    }
}

static const cel_field FIELDS[] = {{"verb", &cel_type_string},
                                   {"count", &cel_type_int},
                                   {"zone", &cel_type_string},
                                   {"tier", &cel_type_int}};
static const cel_object_type ACTION = {.name = "Action", .fields = FIELDS, .count = 4, .get = get_fact};

static const char CONDITION[] =
    "action.verb in ['restart', 'scale', 'deploy'] && action.count <= 3 && action.zone == 'prod' && "
    "impact.share < 0.2 && !stopped";

static cel_environment *declare(void) {
    cel_environment *made = cel_environment_new("");
    if (made == NULL)
        give_up("no memory");
    must(cel_environment_variable(made, "action", cel_type_object(cel_environment_arena(made), &ACTION), NULL,
                                  &why));
    must(cel_environment_variable(made, "impact.share", &cel_type_double, NULL, &why));
    must(cel_environment_variable(made, "stopped", &cel_type_bool, NULL, &why));
    return made;
}

/* ---- Figures
 * --------------------------------------------------------------------------------------------------- */

static void compile_figure(const cel_environment *environment, double seconds) {
    cel_options options = {.result = &cel_type_bool};
    uint64_t begin = process_cpu_ns(getpid());
    uint64_t count = 0;
    while (process_cpu_ns(getpid()) - begin < (uint64_t)(seconds * 1e9))
        for (unsigned i = 0; i < RULES; i++, count++) {
            char rule[400];
            snprintf(rule, sizeof rule, "%s && action.tier > %u", CONDITION, i);
            cel_program *program = NULL;
            must(cel_compile(environment, bytes_of_text(rule), &options, &program, &why));
            cel_program_free(program);
        }
    double rate = (double)count / ((double)(process_cpu_ns(getpid()) - begin) / 1e9);
    printf(
        "{\"name\":\"cel.compile_per_second\",\"value\":%.0f,\"unit\":\"1/s\",\"target\":10000,\"ok\":%s}\n",
        rate, rate >= 10000 ? "true" : "false");
}

static void evaluate_figures(const cel_environment *environment, uint64_t count) {
    cel_program *program = NULL;
    must(cel_compile(environment, bytes_of_text(CONDITION), NULL, &program, &why));
    facts host = {.verb = "deploy", .count = 2, .zone = "prod", .tier = 1};
    cel_object action = {.type = &ACTION, .host = &host};
    cel_value values[] = {cel_object_of(&action), cel_double(0.1), cel_bool(false)};
    cel_run run = {.values = values, .count = 3};
    cel_value result = cel_null();
    uint64_t before = allocations;
    uint64_t begin = process_cpu_ns(getpid());
    for (uint64_t i = 0; i < count; i++) {
        must(cel_evaluate(program, &run, &result, &why));
        if (result.kind != CEL_BOOL || !result.boolean)
            give_up("the condition must hold");
    }
    uint64_t took = process_cpu_ns(getpid()) - begin;
    uint64_t made = allocations - before;
    figure("cel.evaluate_ns", (double)took / (double)count, "ns");
    printf("{\"name\":\"cel.evaluate_allocations\",\"value\":%llu,\"unit\":\"1\",\"target\":0,\"ok\":%s,"
           "\"evaluations\":%llu}\n",
           (unsigned long long)made, made == 0 ? "true" : "false", (unsigned long long)count);
    cel_program_free(program);
}

int main(int argc, char **argv) {
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    cel_environment *environment = declare();
    compile_figure(environment, quick ? 0.5 : 3);
    evaluate_figures(environment, quick ? 1000000 : 10000000);
    cel_environment_free(environment);
    return 0;
}
