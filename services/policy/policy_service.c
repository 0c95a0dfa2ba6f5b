/* The policy process from opening to closing: what it holds, its threads, the order in which they start and
 * stop. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/place.h"
#include "policy.h"

const option policy_options[] = {
    {.name = "audit",
     .kind = OPTION_TEXT,
     .value_name = "TARGET",
     .help = "audit's address [unix:DATA-DIR/run/audit.sock]"},
    {.name = "graph",
     .kind = OPTION_TEXT,
     .value_name = "TARGET",
     .help = "graph's address [unix:DATA-DIR/run/graph.sock]"},
    {.name = "signer",
     .kind = OPTION_TEXT,
     .value_name = "TARGET",
     .help = "the signer's address [unix:DATA-DIR/run/signer.sock]"},
    {.name = "coord",
     .kind = OPTION_TEXT,
     .value_name = "FILE",
     .help = "embedded coordination [DATA-DIR/coord/coord.db]"},
    {.name = "etcd",
     .kind = OPTION_TEXT,
     .value_name = "URLS",
     .help = "etcd endpoints instead, comma-separated [those of DATA-DIR/coordination.yaml]"},
    {.name = "record-key",
     .kind = OPTION_TEXT,
     .value_name = "FILE",
     .help = "the key that signs decisions [DATA-DIR/keys/record-policy.key]"},
    {.name = "executor",
     .kind = OPTION_TEXT,
     .fallback = "executor/local",
     .value_name = "PRINCIPAL",
     .help = "who executes an action that names nobody"},
    {.name = "replica",
     .kind = OPTION_TEXT,
     .fallback = "policy-1",
     .value_name = "NAME",
     .help = "this process among the replicas"},
};
const size_t policy_option_count = sizeof policy_options / sizeof policy_options[0];

/* ---- opening ---- */

/* The option, or a file in the data folder. */
static void path_of(const daemon_context *context, const char *name, const char *fallback, char *out,
                    size_t size) {
    const char *given = settings_text(context->settings, name);
    if (given[0] != '\0')
        (void)snprintf(out, size, "%s", given);
    else
        (void)snprintf(out, size, "%s/%s", context->data_dir, fallback);
}

static status_code make_folder(const daemon_context *context, const char *name, char *out, size_t size,
                               failure *why) {
    (void)snprintf(out, size, "%.400s/%s", context->data_dir, name);
    if (!context->check_only && mkdir(out, 0700) != 0 && errno != EEXIST)
        return fail(why, STATUS_FAILED_PRECONDITION, "FOLDER", "cannot make %s: %s", out, strerror(errno));
    return STATUS_OK;
}

static status_code open_keys(policy_service *self, const daemon_context *context, failure *why) {
    char path[512];
    path_of(context, "trust", "installation.yaml", path, sizeof path);
    status_code code = trust_load(path, &self->roots, why);
    if (code != STATUS_OK)
        return code;
    path_of(context, "record-key", "keys/record-policy.key", path, sizeof path);
    code = secret_key_load(path, KEY_RECORD, &self->record_key, why);
    if (code != STATUS_OK)
        return code;
    const trust_key *known =
        trust_find_keyid(self->roots, KEY_RECORD, secret_key_public(self->record_key)->keyid);
    if (known == NULL || strcmp(known->principal, POLICY_PRINCIPAL) != 0)
        return fail(why, STATUS_FAILED_PRECONDITION, "RECORD_KEY_UNKNOWN",
                    "the key in %s is not that of " POLICY_PRINCIPAL
                    " in the root of trust; run interlock doctor",
                    path);
    return STATUS_OK;
}

static status_code open_channels(policy_service *self, const daemon_context *context, failure *why) {
    status_code code = daemon_channel(context, "audit", &self->audit, why);
    if (code == STATUS_OK)
        code = daemon_channel(context, "graph", &self->graph, why);
    return code;
}

static void on_control_change(void *context, const control_view *view) {
    policy_service *self = context;
    bool unreadable = false;
    /* Parsed here, so that no call has to. */
    document_unref(books_acquire(&self->books, view->policy, view->policy_digest, &unreadable));
    document_unref(books_acquire(&self->shadow.books, view->shadow, view->shadow_digest, &unreadable));
    atomic_store(&self->sweep_wanted, true);
}

static status_code find_place(const daemon_context *context, place *out, failure *why) {
    return place_find(out, context->data_dir, settings_text(context->settings, "etcd"),
                      settings_text(context->settings, "coord"), why);
}

static status_code open_control(policy_service *self, const daemon_context *context, const place *where,
                                failure *why) {
    status_code code = place_open(&self->coordination, where, self->roots, context->source, why);
    if (code == STATUS_OK)
        code = control_open(&self->live, self->coordination, self->roots,
                            settings_text(context->settings, "replica"), context->source, why);
    if (code == STATUS_OK)
        control_on_change(self->live, on_control_change, self);
    return code;
}

/* A statement that the log holds must not be missing in coordination. */
static void remember_statement(void *context, const Interlock__Common__V1__Envelope *statement) {
    policy_service *self = context;
    failure why = {0};
    if (control_remember(self->live, statement, &why) != STATUS_OK)
        (void)log_failure("a control statement in the log is passed over", &why);
}

static status_code open_projection(policy_service *self, const daemon_context *context, failure *why) {
    char folder[480];
    status_code code = make_folder(context, "policy", folder, sizeof folder, why);
    if (code != STATUS_OK)
        return code;
    (void)snprintf(self->database, sizeof self->database, "%s/policy.db", folder);
    self->log.statement = remember_statement;
    self->log.context = self;
    code = projection_open(&self->log, self->database, self->roots->origin, context->source, why);
    if (code == STATUS_OK)
        control_set_floor(self->live, atomic_load(&self->log.control_seq));
    return code;
}

static status_code open_all(policy_service *self, const daemon_context *context, failure *why) {
    place where;
    status_code code = open_keys(self, context, why);
    if (code == STATUS_OK)
        code = find_place(context, &where, why);
    if (code == STATUS_OK)
        code = open_channels(self, context, why);
    if (code != STATUS_OK || context->check_only)
        return code;
    code = open_control(self, context, &where, why);
    if (code == STATUS_OK)
        code = open_projection(self, context, why);
    if (code == STATUS_OK)
        code = policy_store_open_reader(&self->control_reader, self->database, why);
    if (code == STATUS_OK)
        code = policy_store_open_reader(&self->lookup_reader, self->database, why);
    return code;
}

status_code policy_service_open(const daemon_context *context, void **service, failure *why) {
    policy_service *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to start");
    *service = self; /* policy_service_close takes a half-open one */
    self->context = *context;
    self->source = context->source;
    self->executor = settings_text(context->settings, "executor");
    books_init(&self->books);
    shadow_init(&self->shadow);
    atomic_store(&self->sweep_wanted, true);
    return open_all(self, context, why);
}

/* ---- following the log ---- */

static void pause_before_retry(const policy_service *self) {
    for (int i = 0; i < 10 && !atomic_load(&self->stopping); i++)
        (void)usleep(100000);
}

/* On the follower's thread. */
static bool on_entries(void *context, const Interlock__Audit__V1__TailResponse *batch) {
    policy_service *self = context;
    while (!atomic_load(&self->stopping)) {
        failure why = {0};
        status_code code = projection_apply(&self->log, batch, &why);
        if (code == STATUS_OK) {
            control_set_floor(self->live, atomic_load(&self->log.control_seq));
            return true;
        }
        (void)log_failure("following the log", &why);
        if (code == STATUS_DATA_LOSS)
            daemon_abort("cannot keep the projection of the log", &why);
        if (code == STATUS_FAILED_PRECONDITION) {
            atomic_store(&self->follow_again, true);
            return false;
        }
        pause_before_retry(self);
    }
    return false;
}

static status_code follow(policy_service *self, failure *why) {
    return audit_follower_start_light(&self->follower, self->audit, projection_from(&self->log), on_entries,
                                      self, why);
}

/* On the control thread, when it has nothing else to do. */
static void control_tick(void *context) {
    policy_service *self = context;
    failure why = {0};
    if (atomic_load(&self->stopping))
        return;
    if (atomic_exchange(&self->follow_again, false)) {
        audit_follower_stop(self->follower);
        self->follower = NULL;
        if (follow(self, &why) != STATUS_OK) {
            (void)log_failure("following the log", &why);
            atomic_store(&self->follow_again, true);
        }
    }
    /* Only who has all of the log knows what it lacks. */
    if (!projection_is_current(&self->log) || !atomic_exchange(&self->sweep_wanted, false))
        return;
    if (policy_sweep_control(self, &why) != STATUS_OK) {
        (void)log_failure("control statements may be missing in the log; trying again", &why);
        atomic_store(&self->sweep_wanted, true);
        return;
    }
    atomic_store(&self->recorded, true);
}

/* ---- life ---- */

static status_code open_loops(policy_service *self, unsigned count, failure *why) {
    self->loops = calloc(count, sizeof *self->loops);
    if (self->loops == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to start");
    self->loop_count = count;
    status_code code = STATUS_OK;
    for (unsigned i = 0; i < count && code == STATUS_OK; i++) {
        code = daemon_channel(&self->context, "audit", &self->loops[i].audit, why);
        if (code == STATUS_OK)
            code = daemon_channel(&self->context, "signer", &self->loops[i].signer, why);
    }
    return code;
}

static void close_loops(policy_service *self) {
    for (unsigned i = 0; i < self->loop_count; i++) {
        policy_loop *loop = &self->loops[i];
        if (loop->appender != NULL)
            audit_appender_close(loop->appender);
        if (loop->permits != NULL)
            signer_client_close(loop->permits);
        rpc_channel_close(loop->signer);
        rpc_channel_close(loop->audit);
    }
    free(self->loops);
    self->loops = NULL;
    self->loop_count = 0;
}

status_code policy_service_start(void *service, rpc_server *server, failure *why) {
    policy_service *self = service;
    status_code code = open_loops(self, rpc_server_loops(server), why);
    if (code == STATUS_OK)
        code = follow(self, why);
    if (code == STATUS_OK)
        code = rpc_loop_start_aside(&self->views_loop, why);
    if (code == STATUS_OK)
        code = graph_views_open(&self->views, self->views_loop, self->graph, self->source, why);
    if (code == STATUS_OK)
        code = worker_start(&self->lookup_worker, NULL, self, why);
    if (code == STATUS_OK)
        code = worker_start(&self->control_worker, control_tick, self, why);
    atomic_store(&self->ready, code == STATUS_OK);
    return code;
}

bool policy_service_ready(void *service) {
    policy_service *self = service;
    bool recorded = atomic_load(&self->recorded);
    if (!recorded && projection_is_current(&self->log))
        worker_wake(self->control_worker);
    return recorded;
}

void policy_service_stop(void *service) {
    policy_service *self = service;
    atomic_store(&self->stopping, true);
    worker_stop(self->control_worker);
    worker_stop(self->lookup_worker);
    audit_follower_stop(self->follower);
    graph_views_close(self->views);
    rpc_loop_stop(self->views_loop);
    self->control_worker = self->lookup_worker = NULL;
    self->follower = NULL;
    self->views = NULL;
    self->views_loop = NULL;
    close_loops(self);
}

void policy_service_close(void *service) {
    policy_service *self = service;
    if (self == NULL)
        return;
    rpc_channel_close(self->graph);
    rpc_channel_close(self->audit);
    control_close(self->live);
    coord_close(self->coordination);
    policy_store_close(self->lookup_reader);
    policy_store_close(self->control_reader);
    projection_close(&self->log);
    shadow_free(&self->shadow);
    books_free(&self->books);
    secret_key_free(self->record_key);
    trust_free(self->roots);
    free(self);
}

/* ---- metrics ---- */

static void write_decisions(policy_service *self, buffer *out) {
    static const char *const modes[POLICY_MODES] = {"unspecified", "advisory", "enforced", "dry_run"};
    static const char *const outcomes[POLICY_OUTCOMES] = {"unspecified", "allow", "modify",
                                                          "review",      "defer", "deny"};
    metrics_family(out, "interlock_policy_decisions_total", "counter", "Decisions recorded and answered.");
    for (unsigned outcome = 1; outcome < POLICY_OUTCOMES; outcome++)
        for (unsigned mode = 1; mode < POLICY_MODES; mode++) {
            buffer labels;
            buffer_init(&labels, 256);
            metrics_label(&labels, "outcome", outcomes[outcome]);
            metrics_label(&labels, "mode", modes[mode]);
            if (buffer_ok(&labels))
                metrics_sample(out, "interlock_policy_decisions_total", labels.data,
                               (double)atomic_load(&self->decisions[outcome][mode]));
            buffer_free(&labels);
        }
}

static void gauge(buffer *out, const char *name, const char *help, double value) {
    metrics_family(out, name, "gauge", help);
    metrics_sample(out, name, "", value);
}

void policy_service_write_metrics(void *service, buffer *out) {
    policy_service *self = service;
    write_decisions(self, out);
    metrics_family(out, "interlock_policy_repeated_total", "counter", "Answers with a decision made before.");
    metrics_sample(out, "interlock_policy_repeated_total", "", (double)atomic_load(&self->repeated));
    shadow_write_metrics(&self->shadow, out);
    gauge(out, "interlock_policy_control_fresh", "1 while the control data is proved fresh.",
          control_is_fresh(self->live) ? 1 : 0);
    gauge(out, "interlock_policy_control_proof_age_seconds", "Age of the last proof of freshness.",
          (double)control_proof_age_ms(self->live) / 1000.0);
    gauge(out, "interlock_policy_next_index", "First record of the log that is not applied yet.",
          (double)atomic_load(&self->log.applied));
    gauge(out, "interlock_policy_log_current", "1 while all of the log is applied.",
          projection_is_current(&self->log) ? 1 : 0);
}
