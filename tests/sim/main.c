/* Runs seeds: sim_history [--seeds N] [--from SEED] [--verbose]. INTERLOCK_SEED=SEED repeats one run. */
#include "sim.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEPS 250U
#define HEALED_STEPS 400U
#define SEEDS_DEFAULT 24U

static const char POLICY[] =
    "{apiVersion: interlock/v1, kind: PolicySet, metadata: {name: sim, version: 1}}\n"
    "---\n{apiVersion: interlock/v1, kind: Stage, metadata: {name: shop}, spec: {targets: "
    "['service:prod/shop/*'], stage: constrained}}\n"
    "---\n{apiVersion: interlock/v1, kind: Stage, metadata: {name: fresh}, spec: {targets: "
    "['service:prod/shop/new'], stage: advisory}}\n"
    "---\n{apiVersion: interlock/v1, kind: Policy, metadata: {name: work}, spec: {match: {verbs: [deploy, "
    "scale], targets: ['service:prod/shop/*']}, effect: permit, bounds: {entry_traffic: 0.5}}}\n";

static bool verbose;

static void remove_folder(const char *path) {
    DIR *folder = opendir(path);
    if (folder == NULL)
        return;
    for (struct dirent *item; (item = readdir(folder)) != NULL;) {
        char full[512];
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        (void)snprintf(full, sizeof full, "%s/%s", path, item->d_name);
        if (unlink(full) != 0)
            remove_folder(full);
    }
    closedir(folder);
    rmdir(path);
}

void sim_fail(const sim *self, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)fprintf(stderr, "sim: seed %llu, step %u: ", (unsigned long long)self->seed, self->step);
    (void)vfprintf(stderr, format, arguments);
    (void)fprintf(stderr, "\nsim: repeat with INTERLOCK_SEED=%llu\n", (unsigned long long)self->seed);
    va_end(arguments);
    remove_folder(self->folder);
    _Exit(1);
}

void sim_require(const sim *self, bool holds, const char *what) {
    if (!holds)
        sim_fail(self, "does not hold: %s", what);
}

uint64_t sim_draw(sim *self, uint64_t below) {
    uint64_t value = 0;
    chance_random(&self->dice.chance, (uint8_t *)&value, sizeof value);
    return value % below;
}

bool sim_chance(sim *self, unsigned percent) {
    return sim_draw(self, 100) < percent;
}

uint64_t sim_now(const sim *self) {
    return chance_boot_ns(&self->time.chance);
}

/* ---- The beginning and the end ---- */

static secret_key *root_key(sim *self, key_purpose purpose, const char *principal) {
    secret_key *key = NULL;
    failure why = {0};
    if (secret_key_generate(&self->time.chance, purpose, &key, &why) != STATUS_OK)
        sim_fail(self, "no key: %s", why.message);
    if (principal != NULL) {
        trust_key *entry = &self->roots.keys[self->roots.count++];
        (void)snprintf(entry->principal, sizeof entry->principal, "%s", principal);
        entry->purpose = purpose;
        entry->key = *secret_key_public(key);
    }
    return key;
}

static void make_keys(sim *self) {
    (void)snprintf(self->roots.installation, sizeof self->roots.installation, SIM_INSTALLATION);
    (void)snprintf(self->roots.origin, sizeof self->roots.origin, "sim/log");
    self->operator_key = root_key(self, KEY_OPERATOR, "operator/alice");
    self->record_key = root_key(self, KEY_RECORD, "service/policy");
    self->checkpoint_key = root_key(self, KEY_CHECKPOINT, "service/audit");
    self->permit_key = root_key(self, KEY_PERMIT, "service/signer");
    self->executor_key = root_key(self, KEY_EXECUTOR, NULL);
    for (unsigned i = 0; i < SIM_AGENTS; i++)
        self->agent_keys[i] = root_key(self, KEY_AGENT, NULL);
    self->signs.roots = &self->roots;
    self->signs.key = self->permit_key;
    self->signs.verify_records = true;
    notes_init(&self->signs.checkpoints, &self->roots);
}

static void free_keys(sim *self) {
    secret_key_free(self->operator_key);
    secret_key_free(self->record_key);
    secret_key_free(self->checkpoint_key);
    secret_key_free(self->permit_key);
    secret_key_free(self->executor_key);
    for (unsigned i = 0; i < SIM_AGENTS; i++)
        secret_key_free(self->agent_keys[i]);
    notes_free(&self->signs.checkpoints);
}

static void begin(sim *self, uint64_t seed) {
    failure why = {0};
    self->seed = seed;
    arena_init(&self->kept, 1U << 20, 64U << 20);
    simulated_chance_init(&self->dice, seed);
    simulated_chance_init(&self->time, seed + UINT64_C(0x5eed));
    (void)snprintf(self->folder, sizeof self->folder, "%s/sim-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(self->folder) == NULL)
        sim_fail(self, "cannot make a folder");
    (void)snprintf(self->directory, sizeof self->directory, "%s/audit", self->folder);
    make_keys(self);
    if (document_parse(bytes_of_text(POLICY), &self->document, &why) != STATUS_OK)
        sim_fail(self, "the policy: %s", why.message);
    /* Seeds differ in how bad the weather is. */
    self->loss_percent = (unsigned)sim_draw(self, 25);
    self->double_percent = (unsigned)sim_draw(self, 20);
    self->crash_percent = (unsigned)sim_draw(self, 12);
    control_begin(self);
    for (unsigned i = 0; i < SIM_REPLICAS; i++) {
        simulated_chance_init(&self->replicas[i].time, seed * SIM_REPLICAS + i);
        self->replicas[i].time.boot_ns = self->time.boot_ns;
        self->replicas[i].time.wall_ns =
            self->time.wall_ns + (int64_t)(sim_draw(self, 10000) * SIM_MS) - (int64_t)(5000 * SIM_MS);
        replica_start(self, i);
    }
    audit_start(self);
}

static void end(sim *self) {
    for (unsigned i = 0; i < SIM_REPLICAS; i++)
        replica_crash(self, i);
    audit_stop(self);
    network_clear(self);
    document_unref(self->document);
    free_keys(self);
    arena_free(&self->kept);
    remove_folder(self->folder);
}

/* ---- The run ---- */

static void advance(sim *self, uint64_t ns) {
    simulated_chance_advance(&self->time, ns);
    for (unsigned i = 0; i < SIM_REPLICAS; i++)
        simulated_chance_advance(&self->replicas[i].time, ns);
}

static void take_step(sim *self) {
    self->step++;
    advance(self, (self->healed ? 50 : 1 + sim_draw(self, 150)) * SIM_MS);
    network_deliver(self);
    audit_turn(self);
    for (unsigned i = 0; i < SIM_REPLICAS; i++) {
        if (!self->healed && self->replicas[i].up && sim_draw(self, 1000) < self->crash_percent)
            replica_crash(self, i);
        replica_turn(self, i);
    }
    control_turn(self);
    agents_turn(self);
    if (!self->healed && self->audit_up && sim_draw(self, 1000) < self->crash_percent)
        audit_crash(self);
}

static bool all_answered(const sim *self) {
    for (size_t i = 0; i < self->attempt_count; i++)
        if (!self->attempts[i].final)
            return false;
    return self->kills_pending_count == 0;
}

/* Once nothing fails any more and no kill switch is set, everybody learns what became of their actions. */
static void heal(sim *self) {
    self->healed = true;
    control_clear_kills(self);
    for (unsigned i = 0; i < HEALED_STEPS && !all_answered(self); i++)
        take_step(self);
    for (size_t i = 0; i < self->attempt_count; i++)
        sim_require(self, self->attempts[i].answered, "every action is answered once nothing fails any more");
    sim_require(self, self->kills_pending_count == 0, "every kill is recorded once nothing fails any more");
}

typedef struct tally {
    unsigned long permits, crashes, conflicts, fenced, exhausted, answers, records;
} tally;

static void run(uint64_t seed, tally *sum) {
    static sim world;
    world = (sim){0};
    begin(&world, seed);
    for (unsigned i = 0; i < STEPS; i++)
        take_step(&world);
    heal(&world);
    if (!world.audit_up)
        audit_start(&world);
    check_log(&world);
    sum->permits += world.permits;
    sum->crashes += world.crashes;
    sum->conflicts += world.conflicts;
    sum->fenced += world.fenced;
    sum->exhausted += world.exhausted;
    sum->answers += world.answer_count;
    sum->records += audit_log_size(world.log);
    if (verbose)
        printf(
            "sim: seed %llu: %zu answers, %u permits, %llu records, %u crashes, %u conflicts, %u fenced, %u "
            "exhausted\n",
            (unsigned long long)seed, world.answer_count, world.permits,
            (unsigned long long)audit_log_size(world.log), world.crashes, world.conflicts, world.fenced,
            world.exhausted);
    end(&world);
}

static uint64_t number_after(int argc, char **argv, const char *flag, uint64_t fallback) {
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], flag) == 0)
            return strtoull(argv[i + 1], NULL, 10);
    return fallback;
}

int main(int argc, char **argv) {
    const char *only = getenv("INTERLOCK_SEED");
    uint64_t first = only != NULL ? strtoull(only, NULL, 10) : number_after(argc, argv, "--from", 1);
    uint64_t count = only != NULL ? 1 : number_after(argc, argv, "--seeds", SEEDS_DEFAULT);
    tally sum = {0};
    verbose = only != NULL || (argc > 1 && strcmp(argv[argc - 1], "--verbose") == 0);
    crypto_init();
    for (uint64_t seed = first; seed < first + count; seed++)
        run(seed, &sum);
    printf(
        "sim: %llu seeds from %llu: %lu answers, %lu permits, %lu records, %lu crashes, %lu conflicts, %lu "
        "fenced, %lu exhausted\n",
        (unsigned long long)count, (unsigned long long)first, sum.answers, sum.permits, sum.records,
        sum.crashes, sum.conflicts, sum.fenced, sum.exhausted);
    /* A simulation in which nothing went wrong would not have tested anything. */
    if (count >= SEEDS_DEFAULT &&
        (sum.permits == 0 || sum.crashes == 0 || sum.conflicts == 0 || sum.fenced == 0 || sum.exhausted == 0))
        return 1;
    return 0;
}
