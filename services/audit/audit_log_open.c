/* Opening the log: lock, database, and the proof that it extends what was published before anything is
 * appended. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit_log_state.h"
#include "base/limits.h"
#include "checkpoints.h"
#include "crypto/dsse.h"
#include "files.h"
#include "wire/scan.h"

#define SCRATCH_FIRST_BYTES (64U << 10)
#define SCRATCH_BYTES (8U << 20)
#define NUMBER_FILE_BYTES 32U
#define GENESIS_PRINCIPAL "service/audit"

/* ---- Paths ---- */

static status_code set_paths(audit_log *self, const char *directory, failure *why) {
    if (strlen(directory) + 32 >= AUDIT_PATH_BYTES)
        return fail(why, STATUS_INVALID_ARGUMENT, "PATH_TOO_LONG", "the path is too long: %.200s", directory);
    snprintf(self->database, sizeof self->database, "%.*s/log.db", AUDIT_PATH_BYTES - 32, directory);
    snprintf(self->published, sizeof self->published, "%.*s/checkpoint", AUDIT_PATH_BYTES - 32, directory);
    snprintf(self->epoch_file, sizeof self->epoch_file, "%.*s/epoch", AUDIT_PATH_BYTES - 32, directory);
    return STATUS_OK;
}

static status_code take_lock(audit_log *self, const char *directory, failure *why) {
    char path[AUDIT_PATH_BYTES];
    if (mkdir(directory, 0700) != 0 && errno != EEXIST)
        return fail(why, STATUS_FAILED_PRECONDITION, "CANNOT_CREATE", "%s: %s", directory, strerror(errno));
    snprintf(path, sizeof path, "%.*s/audit.lock", AUDIT_PATH_BYTES - 32, directory);
    return lock_take(path, &self->lock, why);
}

/* ---- Checkpoints ---- */

static status_code check_key(const audit_log_options *options, failure *why) {
    const char *keyid = secret_key_public(options->key)->keyid;
    if (trust_find_keyid(options->roots, KEY_CHECKPOINT, keyid) != NULL)
        return STATUS_OK;
    return fail(
        why, STATUS_FAILED_PRECONDITION, "CHECKPOINT_KEY_UNKNOWN",
        "the checkpoint key %s is not in the installation's file, so nobody would believe its checkpoints; "
        "add it there or use the key that is named there",
        keyid);
}

static status_code root_at(const audit_log *self, uint64_t size, merkle_hash *root, failure *why) {
    merkle_frontier frontier;
    status_code status =
        merkle_frontier_load(&frontier, size, audit_store_read_node, (void *)(uintptr_t)&self->writer, why);
    if (status == STATUS_OK)
        merkle_frontier_root(&frontier, root);
    return status;
}

static status_code rolled_back(const audit_log *self, const checkpoint *published, uint64_t size,
                               failure *why) {
    return fail(
        why, STATUS_DATA_LOSS, "LOG_ROLLED_BACK",
        "the database has %llu records and does not extend the checkpoint that was published at %llu: it is "
        "an older copy or another log. Put the newest database back at %.120s; if it is lost, start once "
        "with "
        "--new-epoch, which voids every outstanding permit",
        (unsigned long long)size, (unsigned long long)published->size, self->database);
}

static status_code check_extends(const audit_log *self, uint64_t size, failure *why) {
    bool found = false;
    checkpoint published = {0};
    status_code status = checkpoint_read_published(self->published, self->roots, &found, &published, why);
    if (status != STATUS_OK || !found)
        return status;
    merkle_hash root;
    if (published.size > size)
        return rolled_back(self, &published, size, why);
    if ((status = root_at(self, published.size, &root, why)) != STATUS_OK)
        return status;
    return memcmp(root.bytes, published.root.bytes, MERKLE_HASH_BYTES) == 0
               ? STATUS_OK
               : rolled_back(self, &published, size, why);
}

/* ---- Meta ---- */

static status_code read_number(audit_log *self, const char *name, uint64_t fallback, uint64_t *out,
                               failure *why) {
    audit_meta meta;
    status_code status = audit_store_read_meta(&self->writer, name, &self->scratch, &meta, why);
    if (status == STATUS_OK)
        *out = meta.found ? (uint64_t)meta.number : fallback;
    return status;
}

static status_code require_text(audit_log *self, const char *name, const char *expected, failure *why) {
    audit_meta meta;
    status_code status = audit_store_read_meta(&self->writer, name, &self->scratch, &meta, why);
    if (status == STATUS_OK && (!meta.found || strcmp(meta.text, expected) != 0))
        status = fail(why, STATUS_FAILED_PRECONDITION, "LOG_FOREIGN",
                      "%s holds a log whose %s is '%s', not '%s': it belongs to another installation",
                      self->database, name, meta.text, expected);
    return status;
}

/* ---- A new log ---- */

static status_code write_names(audit_log *self, failure *why) {
    status_code status = audit_store_write_meta(&self->writer, "origin", 0, self->roots->origin, why);
    if (status == STATUS_OK)
        status = audit_store_write_meta(&self->writer, "installation", 0, self->roots->installation, why);
    return status;
}

/* The statement says no more than its header does: who, for which installation, when. */
static status_code make_genesis(audit_log *self, append *out, failure *why) {
    Interlock__Common__V1__StatementHeader *header = statement_header_new(
        PAYLOAD_GENESIS, self->roots->installation, GENESIS_PRINCIPAL, 0, self->source, &self->scratch);
    Interlock__Common__V1__Envelope *record =
        header == NULL ? NULL : dsse_sign_message(self->key, PAYLOAD_GENESIS, &header->base, &self->scratch);
    bytes packed = {0};
    if (record == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the first record");
    status_code status = wire_pack(&record->base, &self->scratch, &packed, why);
    if (status != STATUS_OK)
        return status;
    *out = (append){.action_id = "",
                    .kind = INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_GENESIS,
                    .verdict = "GENESIS",
                    .keyid = secret_key_public(self->key)->keyid,
                    .record = packed};
    leaf_payload_digest(record, out->digest);
    return STATUS_OK;
}

static status_code begin_log(audit_log *self, failure *why) {
    append genesis;
    append_result ignored;
    status_code status = write_names(self, why);
    if (status == STATUS_OK)
        status = make_genesis(self, &genesis, why);
    return status == STATUS_OK ? audit_log_add(self, &genesis, &ignored, why) : status;
}

/* ---- A log that exists ---- */

static void keep_node(void *recent, const merkle_created *node) {
    nodes_put(recent, node);
}

static status_code load_recent(audit_log *self, uint64_t size, failure *why) {
    uint64_t from = size > NODES_PER_LEVEL ? size - NODES_PER_LEVEL : 0;
    status_code status = audit_store_recent_nodes(&self->writer, from, keep_node, self->recent, why);
    /* Whoever is to the left of the newest leaf on a level: older than the rows above, and in every proof. */
    for (unsigned level = 0; level < 64 && status == STATUS_OK; level++)
        if ((size >> level & 1) != 0) {
            merkle_created node = {.node = {.level = level, .index = (size >> level) - 1},
                                   .hash = self->frontier.subtrees[level]};
            nodes_put(self->recent, &node);
        }
    return status;
}

/* The tree must be the one whose checkpoint was committed with its last record. */
static status_code check_head(audit_log *self, failure *why) {
    audit_meta meta;
    checkpoint head = {0};
    merkle_hash root;
    status_code status = audit_store_read_meta(&self->writer, "checkpoint", &self->scratch, &meta, why);
    if (status == STATUS_OK)
        status = checkpoint_verify_any(self->roots, bytes_of_text(meta.text), &head, why);
    if (status != STATUS_OK)
        return fail_within(why, status, "the checkpoint in %s", self->database);
    merkle_frontier_root(&self->frontier, &root);
    if (head.size != self->frontier.size || memcmp(root.bytes, head.root.bytes, MERKLE_HASH_BYTES) != 0)
        return fail(
            why, STATUS_DATA_LOSS, "LOG_DAMAGED",
            "%s: the tree of %llu records is not the one that its checkpoint (%llu) signs; restore the "
            "database from a backup",
            self->database, (unsigned long long)self->frontier.size, (unsigned long long)head.size);
    return STATUS_OK;
}

static status_code load_last_leaf(audit_log *self, failure *why) {
    bytes packed = {0};
    Interlock__Audit__V1__Leaf *leaf = NULL;
    status_code status =
        audit_store_read_leaf(&self->writer, self->frontier.size - 1, &self->scratch, &packed, NULL, why);
    if (status == STATUS_OK)
        status = leaf_parse(packed, &self->scratch, &leaf, why);
    if (status == STATUS_OK)
        self->recorded_at_ms = leaf->recorded_at_ms;
    return status;
}

static status_code load_log(audit_log *self, uint64_t size, failure *why) {
    status_code status = require_text(self, "origin", self->roots->origin, why);
    if (status == STATUS_OK)
        status = require_text(self, "installation", self->roots->installation, why);
    if (status == STATUS_OK)
        status = merkle_frontier_load(&self->frontier, size, audit_store_read_node, &self->writer, why);
    if (status == STATUS_OK)
        status = check_head(self, why);
    if (status == STATUS_OK)
        status = load_recent(self, size, why);
    return status == STATUS_OK ? load_last_leaf(self, why) : status;
}

/* ---- Counters ---- */

typedef struct counter_loading {
    audit_log *self;
    bool other_boot;
} counter_loading;

static status_code load_counter(void *context, const char *key, const counter_state *state, failure *why) {
    const counter_loading *loading = context;
    counter_state copy = *state;
    if (loading->other_boot)
        counter_restart(&copy, copy.window_ms, chance_boot_ns(loading->self->source));
    return counters_load(loading->self->caps, key, &copy, why);
}

static status_code rewrite_counter(void *context, const char *key, const counter_state *state, failure *why) {
    return audit_store_write_counter(context, key, state, why);
}

/* Bucket numbers of another boot's clock mean nothing now: what they hold counts as charged just now. */
static status_code load_counters(audit_log *self, const char *boot_id, failure *why) {
    audit_meta meta;
    status_code status = audit_store_read_meta(&self->writer, "boot", &self->scratch, &meta, why);
    if (status != STATUS_OK)
        return status;
    counter_loading loading = {
        .self = self, .other_boot = !meta.found || boot_id[0] == '\0' || strcmp(meta.text, boot_id) != 0};
    status = audit_store_read_counters(&self->writer, load_counter, &loading, why);
    if (status == STATUS_OK && loading.other_boot)
        status = counters_each(self->caps, rewrite_counter, &self->writer, why);
    return status == STATUS_OK ? audit_store_write_meta(&self->writer, "boot", 0, boot_id, why) : status;
}

/* ---- Term and epoch ---- */

static status_code read_epoch_file(const audit_log *self, uint64_t *out, failure *why) {
    bool found = false;
    buffer text;
    buffer_init(&text, NUMBER_FILE_BYTES);
    status_code status = file_read(self->epoch_file, NUMBER_FILE_BYTES - 1, &found, &text, why);
    if (status == STATUS_OK && found) {
        char *end = NULL;
        unsigned long long number = strtoull(text.data == NULL ? "" : text.data, &end, 10);
        if (end == text.data || (*end != '\n' && *end != '\0') || number > INT64_MAX)
            status = fail(why, STATUS_FAILED_PRECONDITION, "EPOCH_MALFORMED", "%s holds no number",
                          self->epoch_file);
        else if (number > *out)
            *out = number;
    }
    buffer_free(&text);
    return status;
}

/* The file outlives a database that is replaced by an older copy, so that no epoch is ever used twice. */
static status_code write_epoch_file(const audit_log *self, failure *why) {
    char text[NUMBER_FILE_BYTES];
    int size = snprintf(text, sizeof text, "%llu\n", (unsigned long long)self->epoch);
    return file_replace(self->epoch_file, bytes_of(text, (size_t)size), why);
}

static status_code raise_term(audit_log *self, bool next_epoch, failure *why) {
    status_code status = read_number(self, "term", 0, &self->term, why);
    if (status == STATUS_OK)
        status = read_number(self, "epoch", 1, &self->epoch, why);
    if (status == STATUS_OK)
        status = read_number(self, "fence", 0, &self->fence_seq, why);
    if (status == STATUS_OK)
        status = read_epoch_file(self, &self->epoch, why);
    if (status != STATUS_OK)
        return status;
    self->term++;
    self->epoch += next_epoch ? 1 : 0;
    if ((status = write_epoch_file(self, why)) != STATUS_OK)
        return status;
    status = audit_store_write_meta(&self->writer, "term", (int64_t)self->term, "", why);
    return status == STATUS_OK ? audit_store_write_meta(&self->writer, "epoch", (int64_t)self->epoch, "", why)
                               : status;
}

/* ---- All of it ---- */

static status_code open_in_transaction(audit_log *self, const audit_log_options *options, failure *why) {
    uint64_t size = 0;
    status_code status = audit_store_size(&self->writer, &size, why);
    if (status != STATUS_OK)
        return status;
    failure rollback_seen = {0};
    status = check_extends(self, size, &rollback_seen);
    bool is_rolled_back = status != STATUS_OK && rollback_seen.reason != NULL &&
                          strcmp(rollback_seen.reason, "LOG_ROLLED_BACK") == 0;
    if (status != STATUS_OK && !(is_rolled_back && options->new_epoch)) {
        if (why != NULL)
            *why = rollback_seen;
        return status;
    }
    status = raise_term(self, is_rolled_back, why);
    if (status == STATUS_OK)
        status = load_counters(self, options->boot_id, why);
    if (status == STATUS_OK)
        status = size == 0 ? begin_log(self, why) : load_log(self, size, why);
    return status == STATUS_OK ? audit_log_sign(self, why) : status;
}

static status_code open_database(audit_log *self, const audit_log_options *options, failure *why) {
    status_code status = audit_store_open(&self->writer, self->database, why);
    if (status == STATUS_OK)
        status = store_begin(&self->writer.base, why);
    if (status != STATUS_OK)
        return status;
    status = open_in_transaction(self, options, why);
    if (status == STATUS_OK)
        status = store_commit(&self->writer.base, why);
    if (status != STATUS_OK) {
        store_rollback(&self->writer.base);
        return status;
    }
    return file_replace(self->published, bytes_of_text(self->note), why);
}

static status_code log_new(audit_log **out, const audit_log_options *options, failure *why) {
    audit_log *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the log");
    self->lock = -1;
    self->roots = options->roots;
    self->key = options->key;
    self->source = options->source;
    arena_init(&self->scratch, SCRATCH_FIRST_BYTES, SCRATCH_BYTES);
    merkle_frontier_init(&self->frontier);
    status_code status = set_paths(self, options->directory, why);
    if (status == STATUS_OK)
        status = nodes_new(&self->recent, audit_store_read_node, &self->writer, why);
    if (status == STATUS_OK)
        status = counters_new(&self->caps, why);
    if (status != STATUS_OK)
        audit_log_close(self);
    else
        *out = self;
    return status;
}

status_code audit_log_open(audit_log **out, const audit_log_options *options, failure *why) {
    audit_log *self = NULL;
    status_code status = check_key(options, why);
    if (status == STATUS_OK)
        status = log_new(&self, options, why);
    if (status != STATUS_OK)
        return status;
    status = take_lock(self, options->directory, why);
    if (status == STATUS_OK)
        status = open_database(self, options, why);
    if (status != STATUS_OK) {
        self->note[0] = '\0'; /* nothing to publish */
        audit_log_close(self);
        return status;
    }
    *out = self;
    return STATUS_OK;
}

status_code audit_log_check(const audit_log_options *options, failure *why) {
    audit_log *self = NULL;
    status_code status = check_key(options, why);
    if (status == STATUS_OK)
        status = log_new(&self, options, why);
    if (status != STATUS_OK)
        return status;
    if (access(self->database, F_OK) == 0) {
        uint64_t size = 0;
        status = audit_store_open_reader(&self->writer, self->database, why);
        if (status == STATUS_OK)
            status = audit_store_size(&self->writer, &size, why);
        if (status == STATUS_OK)
            status = check_extends(self, size, why);
        if (status == STATUS_OK && size > 0)
            status = load_log(self, size, why);
    }
    audit_log_close(self);
    return status;
}

void audit_log_close(audit_log *self) {
    if (self == NULL)
        return;
    failure ignored; /* what is published only ever lags behind; the next start publishes again */
    if (self->note[0] != '\0' &&
        file_replace(self->published, bytes_of_text(self->note), &ignored) != STATUS_OK)
        (void)ignored;
    audit_store_close(&self->writer);
    nodes_free(self->recent);
    counters_free(self->caps);
    arena_free(&self->scratch);
    if (self->lock >= 0)
        close(self->lock);
    free(self);
}
