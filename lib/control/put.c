/* Writing a control statement: verified, higher than what stands, and together with control/seq in one
 * transaction. A writer that lost against another one looks again; one whose answer was lost finds out by
 * what it reads. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "state.h"
#include "wire/scan.h"

#define PUT_ATTEMPTS 32U
#define PUT_TOTAL_MS 10000U
#define PUT_ARENA_BYTES (16U << 20)

typedef struct put {
    control *self;
    arena *memory;
    const statement *statement;
    bytes envelope;
    uint64_t seq; /* of what was found, then of what was written */
    int64_t seq_revision, key_revision;
    bool present; /* exactly this statement stands there already */
} put;

static status_code read_seq(put *work, failure *why) {
    coord_result result = {0};
    status_code code = coord_get_wait(work->self->coordination, "control/seq", false, CONTROL_REQUEST_MS,
                                      work->memory, &result, why);
    if (code != STATUS_OK)
        return code;
    work->seq = 0;
    work->seq_revision = result.count == 0 ? 0 : result.kvs[0].mod_revision;
    if (result.count != 0 && !control_number_parse(result.kvs[0].value, &work->seq))
        return fail(why, STATUS_FAILED_PRECONDITION, "CONTROL_NUMBER", "control/seq is not a decimal number");
    return STATUS_OK;
}

/* Writing onto a store that went back would hide that it did. */
static status_code check_seq(const put *work, failure *why) {
    control *self = work->self;
    pthread_mutex_lock(&self->lock);
    uint64_t floor = self->floor > self->current->view.seq ? self->floor : self->current->view.seq;
    pthread_mutex_unlock(&self->lock);
    if (work->seq < floor)
        return fail(why, STATUS_FAILED_PRECONDITION, "CONTROL_ROLLED_BACK",
                    "control/seq is %llu, but %llu was seen before; restore coordination first",
                    (unsigned long long)work->seq, (unsigned long long)floor);
    if (work->seq >= INT64_MAX)
        return fail(why, STATUS_FAILED_PRECONDITION, "CONTROL_NUMBER", "control/seq cannot rise any further");
    return STATUS_OK;
}

/* What stands at the key; false when nothing does or it does not verify (and so may be replaced). */
static bool read_present(put *work, const coord_kv *kv, statement *out) {
    ProtobufCMessage *envelope = NULL;
    return wire_unpack_signed(&interlock__common__v1__envelope__descriptor, kv->value, work->memory,
                              &envelope, NULL) == STATUS_OK &&
           statement_verify(work->self->roots, work->self->source,
                            (const Interlock__Common__V1__Envelope *)envelope, false, work->memory, out,
                            NULL) == STATUS_OK &&
           strcmp(out->key, work->statement->key) == 0;
}

static status_code read_key(put *work, uint64_t *version, failure *why) {
    coord_result result = {0};
    statement present;
    status_code code = coord_get_wait(work->self->coordination, work->statement->key, false,
                                      CONTROL_REQUEST_MS, work->memory, &result, why);
    if (code != STATUS_OK)
        return code;
    *version = 0;
    work->present = false;
    work->key_revision = result.count == 0 ? 0 : result.kvs[0].mod_revision;
    if (result.count != 0 && read_present(work, &result.kvs[0], &present)) {
        *version = present.version;
        work->present = memcmp(present.digest, work->statement->digest, CRYPTO_HASH_BYTES) == 0;
    }
    return STATUS_OK;
}

static seen_statement remembered(const put *work) {
    pthread_mutex_lock(&work->self->known_lock);
    const seen_statement *known = seen_find(&work->self->known, work->statement->key);
    seen_statement copy = {0};
    if (known != NULL)
        copy = *known;
    pthread_mutex_unlock(&work->self->known_lock);
    return copy;
}

static status_code check_version(const put *work, uint64_t present, failure *why) {
    seen_statement known = remembered(work);
    /* A statement that only this process remembers may be put back as it was: that repairs a rolled-back
     * store. */
    bool repairs = present < known.version && work->statement->version == known.version &&
                   memcmp(work->statement->digest, known.digest, sizeof known.digest) == 0;
    uint64_t highest = present > known.version ? present : known.version;
    if (work->statement->version > highest || repairs)
        return STATUS_OK;
    return fail(why, STATUS_FAILED_PRECONDITION, "CONTROL_VERSION",
                "%s: version %llu stands already; sign the statement with version %llu", work->statement->key,
                (unsigned long long)highest, (unsigned long long)highest + 1);
}

static status_code write_both(put *work, bool *succeeded, failure *why) {
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)work->seq + 1);
    const coord_compare compares[] = {
        {.key = "control/seq", .target = COORD_MOD_REVISION, .number = work->seq_revision},
        {.key = work->statement->key, .target = COORD_MOD_REVISION, .number = work->key_revision}};
    const coord_op ops[] = {{.kind = COORD_PUT, .key = "control/seq", .value = bytes_of_text(number)},
                            {.kind = COORD_PUT, .key = work->statement->key, .value = work->envelope}};
    int64_t revision = 0;
    return coord_txn_wait(work->self->coordination, compares, 2, ops, 2, CONTROL_REQUEST_MS, succeeded,
                          &revision, why);
}

/* One attempt. OK with *done false: another writer was faster. */
static status_code put_once(put *work, bool *done, failure *why) {
    uint64_t version = 0;
    arena_reset(work->memory);
    status_code code =
        read_key(work, &version, why); /* before the sequence, whose change shows any later write */
    if (code == STATUS_OK)
        code = read_seq(work, why);
    if (code == STATUS_OK)
        code = check_seq(work, why);
    if (code != STATUS_OK)
        return code;
    if (work->present) {
        *done = true;
        return STATUS_OK;
    }
    code = check_version(work, version, why);
    if (code == STATUS_OK)
        code = write_both(work, done, why);
    if (code == STATUS_OK && *done)
        work->seq++;
    return code;
}

static bool worth_retrying(status_code code) {
    return code == STATUS_OK || code == STATUS_UNAVAILABLE || code == STATUS_DEADLINE_EXCEEDED ||
           code == STATUS_ABORTED;
}

/* Waits longer after each attempt, by chance, so that writers do not meet again. */
static void back_off(const control *self, unsigned attempt) {
    uint8_t draw;
    chance_random(self->source, &draw, 1);
    poll(NULL, 0, 1 + draw % (int)(4 + 4 * (attempt < 16 ? attempt : 16)));
}

static status_code put_bounded(put *work, failure *why) {
    control *self = work->self;
    uint64_t begun_ms = chance_boot_ms(self->source);
    status_code code = STATUS_OK;
    for (unsigned attempt = 0; attempt < PUT_ATTEMPTS; attempt++) {
        bool done = false;
        code = put_once(work, &done, why);
        if (code == STATUS_OK && done)
            return STATUS_OK;
        if (!worth_retrying(code) || chance_boot_ms(self->source) - begun_ms >= PUT_TOTAL_MS)
            break;
        back_off(self, attempt);
    }
    if (code != STATUS_OK)
        return code;
    return fail(why, STATUS_ABORTED, "CONTROL_CONTENDED",
                "%s: other writers were faster each time; try again", work->statement->key);
}

/* The copy in `kept` outlives the attempts, whose reads reset their own arena. */
static status_code prepare(control *self, const Interlock__Common__V1__Envelope *envelope, arena *kept,
                           statement *verified, bytes *packed, failure *why) {
    status_code code = statement_verify(self->roots, self->source, envelope, false, kept, verified, why);
    if (code == STATUS_OK)
        code = wire_pack(&envelope->base, kept, packed, why);
    if (code == STATUS_OK && packed->size > COORD_VALUE_BYTES)
        code = fail(why, STATUS_INVALID_ARGUMENT, "CONTROL_STATEMENT", "the statement is larger than 1 MiB");
    return code;
}

status_code control_put(control *self, const Interlock__Common__V1__Envelope *envelope, uint64_t *seq,
                        failure *why) {
    arena kept, memory;
    statement verified;
    arena_init(&kept, 4096, PUT_ARENA_BYTES);
    arena_init(&memory, 4096, PUT_ARENA_BYTES);
    put work = {.self = self, .memory = &memory, .statement = &verified};
    status_code code = prepare(self, envelope, &kept, &verified, &work.envelope, why);
    if (code == STATUS_OK)
        code = put_bounded(&work, why);
    if (code == STATUS_OK) {
        *seq = work.seq;
        control_wake(self, true);
    }
    arena_free(&memory);
    arena_free(&kept);
    return code;
}

status_code control_remember(control *self, const Interlock__Common__V1__Envelope *envelope, failure *why) {
    arena kept;
    statement verified;
    bytes packed;
    uint8_t digest[CRYPTO_HASH_BYTES];
    arena_init(&kept, 4096, PUT_ARENA_BYTES);
    status_code code = prepare(self, envelope, &kept, &verified, &packed, why);
    if (code == STATUS_OK) {
        sha256(packed, digest);
        pthread_mutex_lock(&self->known_lock);
        const seen_statement *known = seen_find(&self->known, verified.key);
        bool news = known == NULL || known->version < verified.version;
        if (news)
            code = seen_take(&self->known, &verified, digest, why);
        pthread_mutex_lock(&self->lock);
        self->remembered += news;
        pthread_mutex_unlock(&self->lock);
        pthread_mutex_unlock(&self->known_lock);
        if (news)
            control_wake(self, true);
    }
    arena_free(&kept);
    return code;
}
