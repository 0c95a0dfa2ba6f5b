/* Opening, starting and stopping the audit service. */
#include "audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "publisher.h"

#define PATH_BYTES 4096
#define VERIFY_QUEUE_MAX 4U

const option audit_option_table[] = {
    {.name = "checkpoint-key",
     .kind = OPTION_TEXT,
     .value_name = "FILE",
     .help = "secret key that signs checkpoints [DATA-DIR/keys/checkpoint.key]"},
    {.name = "new-epoch",
     .kind = OPTION_FLAG,
     .help = "start although the database is older than the published checkpoint; voids outstanding permits"},
};
const size_t audit_option_count = sizeof audit_option_table / sizeof *audit_option_table;

static audit_log_options log_options(const audit_service *self, const audit_options *options) {
    return (audit_log_options){.directory = options->directory,
                               .roots = self->roots,
                               .key = self->key,
                               .source = self->source,
                               .boot_id = self->boot_id,
                               .new_epoch = options->new_epoch};
}

static status_code service_load(audit_service **out, const audit_options *options, const chance *source,
                                failure *why) {
    audit_service *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the service");
    self->source = source;
    boot_id_read(self->boot_id);
    status_code status = trust_load(options->trust_path, &self->roots, why);
    if (status == STATUS_OK)
        status = secret_key_load(options->checkpoint_key, KEY_CHECKPOINT, &self->key, why);
    if (status != STATUS_OK)
        audit_service_free(self);
    else
        *out = self;
    return status;
}

status_code audit_service_new(audit_service **out, const audit_options *options, const chance *source,
                              failure *why) {
    audit_service *self = NULL;
    status_code status = service_load(&self, options, source, why);
    if (status != STATUS_OK)
        return status;
    audit_log_options settings_of_log = log_options(self, options);
    if ((status = audit_log_open(&self->log, &settings_of_log, why)) != STATUS_OK) {
        audit_service_free(self);
        return status;
    }
    head_init(&self->head, audit_log_size(self->log), audit_log_note(self->log));
    self->head_ready = true;
    *out = self;
    return STATUS_OK;
}

status_code audit_service_check(const audit_options *options, const chance *source, failure *why) {
    audit_service *self = NULL;
    status_code status = service_load(&self, options, source, why);
    if (status != STATUS_OK)
        return status;
    audit_log_options settings_of_log = log_options(self, options);
    status = audit_log_check(&settings_of_log, why);
    audit_service_free(self);
    return status;
}

status_code audit_service_start(audit_service *self, failure *why) {
    const char *database = audit_log_database(self->log);
    status_code status = recent_new(&self->newest, why);
    if (status == STATUS_OK)
        status = publisher_start(&self->checkpoints, audit_log_published(self->log), &self->head, why);
    if (status == STATUS_OK)
        status = reader_start(&self->reads, database, READER_QUEUE_MAX, why);
    if (status == STATUS_OK)
        status = reader_start(&self->checks, database, VERIFY_QUEUE_MAX, why);
    if (status == STATUS_OK)
        status = tails_start(&self->followers, database, &self->head, self->newest, self->source, why);
    writer_options options = {.log = self->log,
                              .head = &self->head,
                              .newest = self->newest,
                              .source = self->source,
                              .group_end = append_streams_flush,
                              .context = &self->streams};
    return status == STATUS_OK ? writer_start(&self->appends, &options, why) : status;
}

/* The writer first: its last group is still published and told to followers. What has figures stays to be
 * asked for them until the service is freed. */
void audit_service_stop(audit_service *self) {
    writer_stop(self->appends);
    tails_stop(self->followers);
    reader_stop(self->reads);
    reader_stop(self->checks);
    publisher_stop(self->checkpoints);
    self->reads = self->checks = NULL;
}

void audit_service_free(audit_service *self) {
    if (self == NULL)
        return;
    audit_service_stop(self);
    writer_free(self->appends);
    tails_free(self->followers);
    publisher_free(self->checkpoints);
    recent_free(self->newest);
    if (self->head_ready)
        head_free(&self->head);
    audit_log_close(self->log);
    secret_key_free(self->key);
    trust_free(self->roots);
    free(self);
}

/* ---- For lib/daemon ---- */

/* Threads and all: the server takes calls as soon as it listens. */

status_code audit_open(const daemon_context *context, void **service, failure *why) {
    char directory[PATH_BYTES], trust_path[PATH_BYTES], key_path[PATH_BYTES];
    const char *given_trust = settings_text(context->settings, "trust");
    const char *given_key = settings_text(context->settings, "checkpoint-key");
    snprintf(directory, sizeof directory, "%s/audit", context->data_dir);
    snprintf(trust_path, sizeof trust_path, "%s%s", given_trust[0] != '\0' ? given_trust : context->data_dir,
             given_trust[0] != '\0' ? "" : "/installation.yaml");
    snprintf(key_path, sizeof key_path, "%s%s", given_key[0] != '\0' ? given_key : context->data_dir,
             given_key[0] != '\0' ? "" : "/keys/checkpoint.key");
    audit_options options = {.directory = directory,
                             .trust_path = trust_path,
                             .checkpoint_key = key_path,
                             .new_epoch = settings_flag(context->settings, "new-epoch")};
    if (context->check_only)
        return audit_service_check(&options, context->source, why);
    audit_service *self = NULL;
    status_code status = audit_service_new(&self, &options, context->source, why);
    if (status == STATUS_OK && (status = audit_service_start(self, why)) != STATUS_OK)
        audit_service_free(self);
    if (status != STATUS_OK)
        return status;
    LOG(LOG_INFO, "log opened", LOG_TEXT("origin", self->roots->origin),
        LOG_NUMBER("records", audit_log_size(self->log)), LOG_NUMBER("term", audit_log_term(self->log)),
        LOG_NUMBER("epoch", audit_log_epoch(self->log)));
    *service = self;
    return STATUS_OK;
}

void audit_stop(void *service) {
    audit_service_stop(service);
}

void audit_close(void *service) {
    audit_service_free(service);
}

void audit_write_metrics(void *service, buffer *out) {
    audit_service *self = service;
    writer_write_metrics(self->appends, out);
    metrics_family(out, "interlock_audit_followers", "gauge", "Calls that follow the log.");
    metrics_sample(out, "interlock_audit_followers", "", (double)tails_count(self->followers));
    metrics_family(out, "interlock_audit_published_size", "gauge",
                   "Records that the published checkpoint covers.");
    metrics_sample(out, "interlock_audit_published_size", "", (double)publisher_size(self->checkpoints));
}
