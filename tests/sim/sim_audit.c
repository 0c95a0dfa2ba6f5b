/* The audit service without its threads: the real log on a real file, whose process ends in the middle of a
 * write when the dice say so. From then on nothing more reaches the file, as if the machine had taken the
 * process away; what SQLite had written by then is what the next start finds. */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit_log_state.h"
#include "entry.h"
#include "files.h"
#include "wire/scan.h"

#define PUBLISH_PERCENT 10U
#define CRASH_WRITES 24U /* a group commit has fewer */
#define HISTORY_MAX 64U

/* ---- SQLite's file layer ---- */

static sqlite3_vfs *real, faulty;
static struct wrapped {
    const sqlite3_io_methods *from;
    sqlite3_io_methods methods;
} kinds[4];
static const sqlite3_io_methods *real_methods;
static int writes_left = -1; /* -1: any number; 0: the process is gone */

static bool gone(void) {
    if (writes_left > 0)
        writes_left--;
    errno = EIO;
    return writes_left == 0;
}

static int write_or_end(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset) {
    return gone() ? SQLITE_IOERR_WRITE : real_methods->xWrite(file, data, size, offset);
}

static int sync_or_end(sqlite3_file *file, int flags) {
    return gone() ? SQLITE_IOERR_FSYNC : real_methods->xSync(file, flags);
}

static int truncate_or_end(sqlite3_file *file, sqlite3_int64 size) {
    return gone() ? SQLITE_IOERR_TRUNCATE : real_methods->xTruncate(file, size);
}

static int open_file(sqlite3_vfs *self, const char *name, sqlite3_file *file, int flags, int *out) {
    (void)self;
    int code = real->xOpen(real, name, file, flags, out);
    if (file->pMethods == NULL)
        return code;
    struct wrapped *kind = kinds;
    while (kind->from != NULL && kind->from != file->pMethods)
        kind++;
    if (kind->from == NULL) {
        *kind = (struct wrapped){.from = file->pMethods, .methods = *file->pMethods};
        real_methods = kind->from; /* all kinds write, sync and truncate alike */
        kind->methods.xWrite = write_or_end;
        kind->methods.xSync = sync_or_end;
        kind->methods.xTruncate = truncate_or_end;
    }
    file->pMethods = &kind->methods;
    return code;
}

static void wrap_files(void) {
    if (real != NULL)
        return;
    real = sqlite3_vfs_find(NULL);
    faulty = *real;
    faulty.zName = "simulated";
    faulty.xOpen = open_file;
    (void)sqlite3_vfs_register(&faulty, 1);
}

/* ---- Life ---- */

void audit_start(sim *self) {
    failure why = {0};
    char boot[40];
    wrap_files();
    writes_left = -1;
    /* Sometimes it is the machine that starts anew, whose clock then means something else. */
    self->boots += sim_chance(self, 30);
    (void)snprintf(boot, sizeof boot, "00000000-0000-0000-0000-%012u", self->boots);
    audit_log_options options = {.directory = self->directory,
                                 .roots = &self->roots,
                                 .key = self->checkpoint_key,
                                 .source = &self->time.chance,
                                 .boot_id = boot};
    if (audit_log_open(&self->log, &options, &why) != STATUS_OK)
        sim_fail(self, "the log does not open: %s", why.message);
    self->audit_up = true;
}

void audit_stop(sim *self) {
    audit_log_close(self->log);
    self->log = NULL;
    self->audit_up = false;
    for (size_t i = 0; i < self->group_count; i++)
        free(self->group[i].body);
    self->group_count = 0;
}

/* Neither the file nor the published checkpoint gets anything more. */
void audit_crash(sim *self) {
    writes_left = 0;
    self->log->note[0] = '\0';
    audit_stop(self);
    writes_left = -1;
    self->audit_up_ns = sim_now(self) + sim_draw(self, 1500) * SIM_MS;
    self->crashes++;
}

/* ---- Requests ---- */

static void reply(sim *self, const sim_message *to, message_kind kind, const ProtobufCMessage *body,
                  arena *memory) {
    sim_message back = message_with(kind, to->peer, body, memory);
    back.number = to->number;
    back.incarnation = to->incarnation;
    network_send(self, &back);
}

/* The latest decision on an action, as services/policy/log_fetch.c walks back to it. */
static status_code find_decision(sim *self, const char *action_id, arena *memory,
                                 Interlock__Audit__V1__Conflict *out, failure *why) {
    uint64_t indices[HISTORY_MAX];
    size_t count = 0;
    audit_store *from = audit_log_store(self->log);
    status_code code = audit_store_action(from, action_id, 0, indices, HISTORY_MAX, &count, why);
    while (code == STATUS_OK && out->latest == NULL && count > 0) {
        Interlock__Audit__V1__Entry *entry = NULL;
        Interlock__Audit__V1__Leaf *leaf = NULL;
        code = entry_read(from, indices[--count], memory, &entry, why);
        if (code == STATUS_OK)
            code = leaf_parse(bytes_of(entry->leaf.data, entry->leaf.len), memory, &leaf, why);
        if (code == STATUS_OK && leaf->kind == INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION)
            out->latest = entry;
    }
    if (code != STATUS_OK || out->latest == NULL)
        return code;
    Interlock__Audit__V1__AppendResponse told = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__INIT;
    append_result stored = {.outcome = APPEND_REPEATED, .index = out->latest->index};
    code = audit_log_answer(self->log, &stored, memory, &told, why);
    out->receipt = told.receipt;
    return code;
}

static void fetch(sim *self, const sim_message *what) {
    failure why = {0};
    arena memory;
    arena_init(&memory, 16384, 4U << 20);
    Interlock__Audit__V1__Conflict found = INTERLOCK__AUDIT__V1__CONFLICT__INIT;
    char *action_id = arena_zero(&memory, 1, what->size + 1);
    memcpy(action_id, what->body, what->size);
    if (find_decision(self, action_id, &memory, &found, &why) != STATUS_OK)
        sim_fail(self, "the log cannot be read: %s", why.message);
    reply(self, what, MESSAGE_FETCHED, &found.base, &memory);
    arena_free(&memory);
}

void audit_take(sim *self, const sim_message *what) {
    if (!self->audit_up || (what->kind == MESSAGE_APPEND && self->group_count == SIM_GROUP))
        return;
    if (what->kind == MESSAGE_FETCH) {
        fetch(self, what);
        return;
    }
    sim_message *copy = &self->group[self->group_count++];
    *copy = *what;
    copy->body = malloc(what->size + 1);
    if (copy->body == NULL)
        abort();
    memcpy(copy->body, what->body, what->size);
}

/* ---- The group ---- */

static append *prepare(sim *self, const sim_message *what, arena *memory) {
    ProtobufCMessage *request = NULL;
    append *item = NULL;
    failure why = {0};
    if (wire_unpack(&interlock__audit__v1__append_request__descriptor, bytes_of(what->body, what->size),
                    memory, &request, &why) != STATUS_OK ||
        append_prepare((const Interlock__Audit__V1__AppendRequest *)request, &item, &why) != STATUS_OK)
        sim_fail(self, "an append is refused: %s", why.message);
    return item;
}

static void count_result(sim *self, const append_result *result) {
    self->conflicts += result->outcome == APPEND_CONFLICT;
    if (result->outcome != APPEND_REFUSED)
        return;
    self->fenced += result->reason == INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_FENCED;
    self->exhausted += result->reason == INTERLOCK__AUDIT__V1__REFUSAL__REASON__REASON_COUNTER_EXHAUSTED;
}

static void answer_group(sim *self, append_result *results, arena *memory) {
    for (size_t i = 0; i < self->group_count; i++) {
        failure why = {0};
        Interlock__Audit__V1__AppendResponse told = INTERLOCK__AUDIT__V1__APPEND_RESPONSE__INIT;
        if (audit_log_answer(self->log, &results[i], memory, &told, &why) != STATUS_OK)
            sim_fail(self, "no answer to an append: %s", why.message);
        count_result(self, &results[i]);
        reply(self, &self->group[i], MESSAGE_APPENDED, &told.base, memory);
    }
}

static void commit_group(sim *self, append **items, arena *memory) {
    static append_result results[SIM_GROUP];
    failure why = {0};
    bool crash = !self->healed && sim_chance(self, self->crash_percent);
    if (crash)
        writes_left = 1 + (int)sim_draw(self, CRASH_WRITES);
    status_code status = audit_log_append(self->log, items, self->group_count, results, &why);
    writes_left = writes_left == 0 ? 0 : -1;
    if (status != STATUS_OK && !crash)
        sim_fail(self, "the group is not appended: %s", why.message);
    if (status == STATUS_OK && !(crash && sim_chance(self, 50))) /* else it ends before it answers */
        answer_group(self, results, memory);
    if (crash)
        audit_crash(self);
}

void audit_turn(sim *self) {
    append *items[SIM_GROUP];
    arena memory;
    if (!self->audit_up && (self->healed || sim_now(self) >= self->audit_up_ns))
        audit_start(self);
    if (!self->audit_up || self->group_count == 0)
        return;
    arena_init(&memory, 65536, 16U << 20);
    size_t count = self->group_count;
    for (size_t i = 0; i < count; i++)
        items[i] = prepare(self, &self->group[i], &memory);
    commit_group(self, items, &memory);
    for (size_t i = 0; i < count; i++)
        append_free(items[i]);
    for (size_t i = 0; i < self->group_count; i++)
        free(self->group[i].body);
    self->group_count = 0;
    failure why = {0};
    if (self->audit_up && sim_chance(self, PUBLISH_PERCENT) &&
        file_replace(audit_log_published(self->log), bytes_of_text(audit_log_note(self->log)), &why) !=
            STATUS_OK)
        sim_fail(self, "cannot publish: %s", why.message);
    arena_free(&memory);
}
