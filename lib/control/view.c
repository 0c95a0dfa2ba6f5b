/* Building a view. Every statement has to verify and none may be missing or older than it was: whoever can
 * write coordination could otherwise un-kill by deleting a key, or un-revoke by putting an old statement
 * back. One bad statement refuses the whole, because a view without it would be weaker than what an operator
 * said. */
#include "view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "wire/scan.h"

#define VIEW_FIRST_BLOCK_BYTES 4096U
#define VIEW_ARENA_BYTES (256U << 20)
#define PREFIX_CONTROL "control/"

/* ---- What was seen ---- */

void seen_free(seen *self) {
    if (self == NULL)
        return;
    free(self->statements);
    *self = (seen){0};
}

/* The place of a key, or where it would stand. */
static size_t seen_position(const seen *self, const char *key) {
    size_t low = 0, high = self->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(self->statements[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const seen_statement *seen_find(const seen *self, const char *key) {
    size_t at = seen_position(self, key);
    return at < self->count && strcmp(self->statements[at].key, key) == 0 ? &self->statements[at] : NULL;
}

static bool seen_grow(seen *self) {
    if (self->count < self->capacity)
        return true;
    size_t capacity = self->capacity == 0 ? 64 : 2 * self->capacity;
    seen_statement *grown = self->count >= COORD_RANGE_MAX
                                ? NULL
                                : realloc(self->statements, capacity * sizeof *self->statements);
    if (grown == NULL)
        return false;
    self->statements = grown;
    self->capacity = capacity;
    return true;
}

static status_code seen_insert(seen *self, size_t at, const seen_statement *entry, failure *why) {
    if (!seen_grow(self))
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY",
                    "no memory for remembering control statements");
    memmove(&self->statements[at + 1], &self->statements[at], (self->count - at) * sizeof *entry);
    self->statements[at] = *entry;
    self->count++;
    return STATUS_OK;
}

static status_code seen_check(const seen_statement *known, const statement *in, failure *why) {
    if (in->version < known->version)
        return fail(why, STATUS_FAILED_PRECONDITION, "CONTROL_ROLLED_BACK",
                    "%s: version %llu, but %llu was seen before; the store went back", in->key,
                    (unsigned long long)in->version, (unsigned long long)known->version);
    if (in->version == known->version && memcmp(in->digest, known->digest, sizeof in->digest) != 0)
        return fail(why, STATUS_FAILED_PRECONDITION, "CONTROL_ROLLED_BACK",
                    "%s: another statement of version %llu was seen before; sign one of a higher version",
                    in->key, (unsigned long long)in->version);
    return STATUS_OK;
}

status_code seen_take(seen *self, const statement *in, const uint8_t envelope[CRYPTO_HASH_BYTES],
                      failure *why) {
    seen_statement entry = {.version = in->version};
    memcpy(entry.key, in->key, sizeof entry.key);
    memcpy(entry.digest, in->digest, sizeof entry.digest);
    memcpy(entry.envelope, envelope, sizeof entry.envelope);
    size_t at = seen_position(self, in->key);
    if (at == self->count || strcmp(self->statements[at].key, in->key) != 0)
        return seen_insert(self, at, &entry, why);
    status_code code = seen_check(&self->statements[at], in, why);
    if (code == STATUS_OK)
        self->statements[at] = entry;
    return code;
}

/* ---- Numbers ---- */

bool control_number_parse(bytes text, uint64_t *out) {
    uint64_t value = 0;
    if (text.size == 0 || text.size > 19 || (text.size > 1 && text.data[0] == '0'))
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (value > INT64_MAX)
        return false;
    *out = value;
    return true;
}

bool freshness_holds(uint64_t proof_ns, uint64_t now_ns) {
    if (proof_ns == 0 || now_ns < proof_ns)
        return false;
    return now_ns - proof_ns < (uint64_t)CONTROL_FRESH_MS * 1000000U;
}

/* ---- Building ---- */

typedef struct build {
    const trust *roots;
    const chance *source;
    seen *known;
    view_box *box;
    control_enrolment *enrolments;
    const Interlock__Control__V1__Kill **kills;
    size_t statements;
    size_t refused; /* what was wrong, besides the first of it, which is in `first` */
    failure first;
} build;

static void build_refuse(build *self, const failure *why) {
    if (self->refused++ == 0)
        self->first = *why;
}

static void document_digest(const Interlock__Control__V1__PolicySet *set,
                            char out[2 * CRYPTO_HASH_BYTES + 1]) {
    uint8_t digest[CRYPTO_HASH_BYTES];
    sha256(bytes_of(set->document.data, set->document.len), digest);
    hex_encode(bytes_of(digest, sizeof digest), out);
}

static void build_take(build *self, const statement *in) {
    control_view *view = &self->box->view;
    if (in->enrolment != NULL) {
        control_enrolment *entry = &self->enrolments[view->enrolment_count++];
        entry->key = in->enrolled;
        entry->statement = in->enrolment;
        memcpy(entry->keyid, in->enrolled.keyid, sizeof entry->keyid);
    } else if (in->policy != NULL && in->policy->shadow) {
        document_digest(in->policy, view->shadow_digest);
        view->shadow = in->policy;
    } else if (in->policy != NULL) {
        document_digest(in->policy, view->policy_digest);
        view->policy = in->policy;
    } else if (in->kill->set) {
        self->kills[view->kill_count++] = in->kill;
    }
}

static status_code read_statement(build *self, const coord_kv *kv, const uint8_t digest[CRYPTO_HASH_BYTES],
                                  statement *out, failure *why) {
    ProtobufCMessage *envelope = NULL;
    const seen_statement *known = seen_find(self->known, kv->key);
    bool signature_known = known != NULL && memcmp(known->envelope, digest, CRYPTO_HASH_BYTES) == 0;
    status_code code = wire_unpack_signed(&interlock__common__v1__envelope__descriptor, kv->value,
                                          &self->box->memory, &envelope, why);
    if (code != STATUS_OK)
        return code;
    code = statement_verify(self->roots, self->source, (const Interlock__Common__V1__Envelope *)envelope,
                            signature_known, &self->box->memory, out, why);
    if (code == STATUS_OK && strcmp(out->key, kv->key) != 0)
        code = fail(why, STATUS_FAILED_PRECONDITION, "CONTROL_STATEMENT",
                    "a valid statement, but its place is %.160s", out->key);
    return code;
}

static void build_statement(build *self, const coord_kv *kv) {
    statement made;
    failure why = {0};
    uint8_t digest[CRYPTO_HASH_BYTES];
    sha256(kv->value, digest);
    status_code code = read_statement(self, kv, digest, &made, &why);
    if (code != STATUS_OK) {
        fail_within(&why, code, "%s", kv->key);
        build_refuse(self, &why);
        return;
    }
    self->statements++;
    if (seen_take(self->known, &made, digest, &why) == STATUS_OK)
        build_take(self, &made);
    else
        build_refuse(self, &why);
}

static void build_number(build *self, const coord_kv *kv, uint64_t *out, uint64_t *known) {
    failure why = {0};
    if (!control_number_parse(kv->value, out)) {
        fail(&why, STATUS_FAILED_PRECONDITION, "CONTROL_NUMBER", "%s: not a decimal number", kv->key);
        build_refuse(self, &why);
    } else if (*out > *known) {
        *known = *out;
    }
}

static void build_key(build *self, const coord_kv *kv) {
    if (strcmp(kv->key, PREFIX_CONTROL "seq") == 0)
        build_number(self, kv, &self->box->view.seq, &self->known->seq);
    else if (strcmp(kv->key, PREFIX_CONTROL "epoch") == 0)
        build_number(self, kv, &self->box->view.epoch, &self->known->epoch);
    else
        build_statement(self, kv); /* what this version does not know could be a restriction: refused there */
}

/* Both sides are sorted by key. */
static void build_check_missing(build *self, const coord_kv *kvs, size_t count) {
    size_t at = 0;
    for (size_t i = 0; i < self->known->count; i++) {
        const char *key = self->known->statements[i].key;
        while (at < count && strcmp(kvs[at].key, key) < 0)
            at++;
        if (at < count && strcmp(kvs[at].key, key) == 0)
            continue;
        failure why = {0};
        fail(&why, STATUS_FAILED_PRECONDITION, "CONTROL_ROLLED_BACK",
             "%s: the statement has disappeared, which no operator can ask for", key);
        build_refuse(self, &why);
    }
}

static void build_check_number(build *self, const char *name, uint64_t value, uint64_t known) {
    failure why = {0};
    if (value >= known)
        return;
    fail(&why, STATUS_FAILED_PRECONDITION, "CONTROL_ROLLED_BACK",
         "control/%s is %llu, but %llu was seen before", name, (unsigned long long)value,
         (unsigned long long)known);
    build_refuse(self, &why);
}

static void build_check_whole(build *self, const coord_kv *kvs, size_t count) {
    const control_view *view = &self->box->view;
    build_check_missing(self, kvs, count);
    build_check_number(self, "seq", view->seq, self->known->seq);
    build_check_number(self, "epoch", view->epoch, self->known->epoch);
    if (view->seq < self->statements) {
        failure why = {0};
        fail(&why, STATUS_FAILED_PRECONDITION, "CONTROL_ROLLED_BACK",
             "control/seq is %llu, but %zu statements stand here, each of which has raised it",
             (unsigned long long)view->seq, self->statements);
        build_refuse(self, &why);
    }
}

static view_box *box_new(void) {
    view_box *box = calloc(1, sizeof *box);
    if (box == NULL)
        return NULL;
    arena_init(&box->memory, VIEW_FIRST_BLOCK_BYTES, VIEW_ARENA_BYTES);
    atomic_init(&box->references, 1);
    return box;
}

void view_unref(view_box *self) {
    if (self == NULL || atomic_fetch_sub(&self->references, 1) != 1)
        return;
    arena_free(&self->memory);
    free(self);
}

status_code view_empty(view_box **out, failure *why) {
    view_box *box = box_new();
    if (box == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a view of the control data");
    *out = box;
    return STATUS_OK;
}

static status_code build_run(build *self, const coord_kv *kvs, size_t count, failure *why) {
    self->box = box_new();
    self->enrolments =
        self->box == NULL ? NULL : arena_zero(&self->box->memory, count + 1, sizeof *self->enrolments);
    self->kills = self->box == NULL ? NULL
                                    : arena_zero(&self->box->memory, count + 1,
                                                 sizeof(const Interlock__Control__V1__Kill *));
    if (self->enrolments == NULL || self->kills == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for a view of the control data");
    for (size_t i = 0; i < count; i++)
        build_key(self, &kvs[i]);
    build_check_whole(self, kvs, count);
    self->box->view.enrolments = self->enrolments; /* in the order of the keys, which is that of the keyids */
    self->box->view.kills = self->kills;
    if (self->refused == 0)
        return STATUS_OK;
    if (self->refused > 1)
        fail_within(&self->first, self->first.code, "%zu statements or numbers refused, the first",
                    self->refused);
    if (why != NULL)
        *why = self->first;
    return self->first.code;
}

status_code view_build(const trust *roots, const chance *source, seen *known, const coord_kv *kvs,
                       size_t count, view_box **out, failure *why) {
    build self = {.roots = roots, .source = source, .known = known};
    status_code code = build_run(&self, kvs, count, why);
    if (code == STATUS_OK)
        *out = self.box;
    else
        view_unref(self.box);
    return code;
}
