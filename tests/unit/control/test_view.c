/* Building views from what stands in coordination: what an operator signed counts, and nothing that anyone
 * else could have written, left out, moved or put back does. Pure; the clock is simulated where it matters.
 */
#include "view.h" /* before cmocka.h, whose macro fail() would hide ours */

#include "statements.h"

#define KILL_GLOBAL INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_GLOBAL
#define KILL_AGENT INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_AGENT
#define KILL_MODEL INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_MODEL
#define KILL_SERVICE INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_SERVICE
#define KILL_ZONE INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_ZONE
#define KILL_VERB INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_VERB
#define KVS_MAX 16U

/* A store as a reader finds it, kept sorted. */
typedef struct world {
    installation at;
    arena memory;
    seen known;
    coord_kv kvs[KVS_MAX];
    size_t count;
    public_key deployer, executor;
} world;

static int world_make(void **state) {
    world *self = calloc(1, sizeof *self);
    assert_non_null(self);
    installation_make(&self->at);
    arena_init(&self->memory, 65536, 64U << 20);
    uint8_t raw[CRYPTO_PUBLIC_KEY_BYTES] = {1};
    public_key_from_bytes(&self->deployer, raw);
    raw[0] = 2;
    public_key_from_bytes(&self->executor, raw);
    *state = self;
    return 0;
}

static int world_free(void **state) {
    world *self = *state;
    installation_free(&self->at);
    seen_free(&self->known);
    arena_free(&self->memory);
    free(self);
    return 0;
}

static void set(world *self, const char *key, bytes value) {
    size_t at = 0;
    while (at < self->count && strcmp(self->kvs[at].key, key) < 0)
        at++;
    if (at == self->count || strcmp(self->kvs[at].key, key) != 0) {
        assert_true(self->count < KVS_MAX);
        memmove(&self->kvs[at + 1], &self->kvs[at], (self->count - at) * sizeof *self->kvs);
        self->count++;
    }
    self->kvs[at] = (coord_kv){.key = arena_text(&self->memory, key), .value = value, .mod_revision = 1};
}

static void unset(world *self, const char *key) {
    for (size_t i = 0; i < self->count; i++) {
        if (strcmp(self->kvs[i].key, key) == 0) {
            memmove(&self->kvs[i], &self->kvs[i + 1], (self->count - i - 1) * sizeof *self->kvs);
            self->count--;
            return;
        }
    }
    fail_msg("no %s", key);
}

static void set_text(world *self, const char *key, const char *text) {
    set(self, key, bytes_of_text(text));
}

static const char *enrolment_key(world *self, const public_key *key) {
    return arena_format(&self->memory, "control/enrolment/%s", key->keyid);
}

static void set_kill(world *self, Interlock__Control__V1__Kill__Scope scope, const char *subject, bool on,
                     uint64_t version) {
    char key[COORD_KEY_BYTES];
    assert_true(statement_kill_key(scope, subject, key));
    set(self, key,
        signed_by(self->at.alice, PAYLOAD_KILL, &kill_new(scope, subject, on, version, &self->memory)->base,
                  &self->memory));
}

static void set_enrolment(world *self, const char *principal, const public_key *key, bool revoked,
                          uint64_t version) {
    Interlock__Control__V1__Enrolment *enrolment = enrolment_new(principal, key, version, &self->memory);
    enrolment->revoked = revoked;
    set(self, enrolment_key(self, key),
        signed_by(self->at.alice, PAYLOAD_ENROLMENT, &enrolment->base, &self->memory));
}

static void set_policy(world *self, const char *document, uint64_t version) {
    set(self, "control/policy",
        signed_by(self->at.alice, PAYLOAD_POLICY_SET, &policy_new(document, version, &self->memory)->base,
                  &self->memory));
}

/* Two enrolments, a policy set, one kill switch set and one cleared: five writes. */
static void fill(world *self) {
    set_text(self, "control/seq", "5");
    set_text(self, "control/epoch", "2");
    set_enrolment(self, "agent/deployer", &self->deployer, false, 1);
    set_enrolment(self, "executor/local", &self->executor, false, 1);
    set_policy(self, "rules: []", 1);
    set_kill(self, KILL_VERB, "exec", true, 1);
    set_kill(self, KILL_AGENT, "agent/old", false, 1);
}

static status_code build(world *self, view_box **out, failure *why) {
    return view_build(&self->at.roots, chance_system(), &self->known, self->kvs, self->count, out, why);
}

static void expect_good(world *self) {
    view_box *box = NULL;
    failure why = {0};
    if (build(self, &box, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    view_unref(box);
}

static void expect_refused(world *self, const char *label, const char *words) {
    view_box *box = NULL;
    failure why = {0};
    status_code code = build(self, &box, &why);
    if (code == STATUS_OK)
        fail_msg("%s: accepted", label);
    assert_null(box);
    if (why.reason == NULL || strstr(why.message, words) == NULL)
        fail_msg("%s: \"%s\" without \"%s\"", label, why.message, words);
}

/* ---- What is right ---- */

static void empty_store_is_an_empty_view(void **state) {
    world *self = *state;
    view_box *box = NULL;
    failure why = {0};
    assert_int_equal(build(self, &box, &why), STATUS_OK);
    assert_int_equal(box->view.seq, 0);
    assert_int_equal(box->view.enrolment_count, 0);
    assert_null(control_find_key(&box->view, self->deployer.keyid));
    assert_null(control_find_kill(&box->view, "agent/deployer", "m", "deploy", NULL, 0));
    view_unref(box);
}

static void view_says_what_was_signed(void **state) {
    world *self = *state;
    fill(self);
    view_box *box = NULL;
    failure why = {0};
    if (build(self, &box, &why) != STATUS_OK)
        fail_msg("%s", why.message);
    const control_view *view = &box->view;
    assert_int_equal(view->seq, 5);
    assert_int_equal(view->epoch, 2);
    assert_int_equal(view->enrolment_count, 2);
    assert_int_equal(view->kill_count, 1);
    assert_string_equal(view->kills[0]->subject, "exec");
    assert_string_equal(view->policy->name, "shop");
    uint8_t digest[CRYPTO_HASH_BYTES];
    char hex[2 * CRYPTO_HASH_BYTES + 1];
    sha256(bytes_of_text("rules: []"), digest);
    hex_encode(bytes_of(digest, sizeof digest), hex);
    assert_string_equal(view->policy_digest, hex);
    const control_enrolment *found = control_find_key(view, self->deployer.keyid);
    assert_non_null(found);
    assert_string_equal(found->statement->principal, "agent/deployer");
    assert_memory_equal(found->key.bytes, self->deployer.bytes, sizeof self->deployer.bytes);
    assert_null(control_find_key(view, "00000000000000000000000000000000"));
    assert_ptr_equal(control_find_principal(view, "executor/local"),
                     control_find_key(view, self->executor.keyid));
    assert_null(control_find_principal(view, "executor/other"));
    view_unref(box);

    set_enrolment(self, "executor/local", &self->executor, true, 2);
    set_text(self, "control/seq", "6");
    assert_int_equal(build(self, &box, &why), STATUS_OK);
    assert_true(control_find_key(&box->view, self->executor.keyid)->statement->revoked);
    assert_null(control_find_principal(&box->view, "executor/local"));
    view_unref(box);
}

static const struct {
    Interlock__Control__V1__Kill__Scope scope;
    const char *subject;
    const char *principal, *model, *verb, *target;
    bool covered;
} kill_cases[] = {
    {KILL_GLOBAL, "", "agent/a", "m", "deploy", "service:prod/shop/cart", true},
    {KILL_AGENT, "agent/a", "agent/a", "m", "deploy", "service:prod/shop/cart", true},
    {KILL_AGENT, "agent/a", "agent/ab", "m", "deploy", "service:prod/shop/cart", false},
    {KILL_MODEL, "m", "agent/a", "m", "deploy", "service:prod/shop/cart", true},
    {KILL_MODEL, "m", "agent/a", "n", "deploy", "service:prod/shop/cart", false},
    {KILL_MODEL, "m", "agent/a", "", "deploy", "service:prod/shop/cart", true}, /* unknown is not "no" */
    {KILL_MODEL, "m", "agent/a", NULL, "deploy", "service:prod/shop/cart", true},
    {KILL_VERB, "deploy", "agent/a", "m", "deploy", "service:prod/shop/cart", true},
    {KILL_VERB, "deploy", "agent/a", "m", "restart", "service:prod/shop/cart", false},
    {KILL_SERVICE, "service:prod/shop/cart", "agent/a", "m", "deploy", "service:prod/shop/cart", true},
    {KILL_SERVICE, "service:prod/shop/cart", "agent/a", "m", "deploy", "service:staging/shop/cart", false},
    {KILL_ZONE, "zone:prod/eu/a", "agent/a", "m", "deploy", "service:prod/shop/cart",
     true}, /* not known here */
};

static void kill_switches_cover_their_scope(void **state) {
    world *self = *state;
    for (size_t i = 0; i < sizeof kill_cases / sizeof *kill_cases; i++) {
        self->count = 0;
        seen_free(&self->known);
        set_text(self, "control/seq", "1");
        set_kill(self, kill_cases[i].scope, kill_cases[i].subject, true, 1);
        view_box *box = NULL;
        failure why = {0};
        if (build(self, &box, &why) != STATUS_OK)
            fail_msg("%zu: %s", i, why.message);
        char *targets[] = {"service:prod/shop/other", arena_text(&self->memory, kill_cases[i].target)};
        const Interlock__Control__V1__Kill *found = control_find_kill(
            &box->view, kill_cases[i].principal, kill_cases[i].model, kill_cases[i].verb, targets, 2);
        if ((found != NULL) != kill_cases[i].covered)
            fail_msg("case %zu: %s", i, found == NULL ? "not covered" : "covered");
        view_unref(box);
    }
}

static void long_subjects_have_a_place(void **state) {
    world *self = *state;
    char subject[STATEMENT_SUBJECT_BYTES + 1], key[COORD_KEY_BYTES], other[COORD_KEY_BYTES];
    memset(subject, 'x', sizeof subject);
    subject[STATEMENT_SUBJECT_BYTES] = '\0';
    set_kill(self, KILL_SERVICE, subject, true, 1);
    set_text(self, "control/seq", "1");
    expect_good(self);
    assert_true(statement_kill_key(KILL_SERVICE, subject, key));
    assert_int_equal(key[strlen("control/kill/service/")], '~');
    subject[200] = 'y';
    assert_true(statement_kill_key(KILL_SERVICE, subject, other));
    assert_string_not_equal(key, other);
    assert_false(statement_kill_key(INTERLOCK__CONTROL__V1__KILL__SCOPE__SCOPE_UNSPECIFIED, "x", key));
    assert_false(statement_kill_key((Interlock__Control__V1__Kill__Scope)7, "x", key));
}

/* ---- Single statements that must not count ---- */

static void expect_bad_kill(world *self, const char *label, const secret_key *key,
                            Interlock__Control__V1__Kill *kill, const char *words) {
    char place[COORD_KEY_BYTES];
    self->count = 0;
    seen_free(&self->known);
    set_text(self, "control/seq", "9");
    if (!statement_kill_key(kill->scope, kill->subject, place))
        snprintf(place, sizeof place, "control/kill/global/");
    set(self, place, signed_by(key, PAYLOAD_KILL, &kill->base, &self->memory));
    expect_refused(self, label, words);
}

static void tampered_kills_are_refused(void **state) {
    world *self = *state;
    arena *memory = &self->memory;
    Interlock__Control__V1__Kill *kill = kill_new(KILL_GLOBAL, "", true, 1, memory);
    expect_bad_kill(self, "a stranger's key", self->at.mallory, kill, "no operator's key");
    expect_bad_kill(self, "a key for another purpose", self->at.record, kill, "no operator's key");
    expect_bad_kill(self, "another operator's name", self->at.bob, kill, "operator/bob");
    kill->header->installation = "other";
    expect_bad_kill(self, "another installation", self->at.alice, kill, "other");
    kill = kill_new(KILL_GLOBAL, "", true, 1, memory);
    kill->header->type = PAYLOAD_ENROLMENT;
    expect_bad_kill(self, "another type in the header", self->at.alice, kill, "");
    kill = kill_new(KILL_GLOBAL, "", true, 1, memory);
    kill->header = NULL;
    expect_bad_kill(self, "no header", self->at.alice, kill, "header");
    kill = kill_new(KILL_GLOBAL, "", true, 1, memory);
    kill->header->nonce.len = 16;
    expect_bad_kill(self, "short nonce", self->at.alice, kill, "nonce");
    kill = kill_new(KILL_GLOBAL, "", true, 1, memory);
    kill->header->issued_at_ms += 3600 * 1000;
    expect_bad_kill(self, "from the future", self->at.alice, kill, "");
    kill = kill_new(KILL_GLOBAL, "", true, 1, memory);
    kill->header->expires_at_ms = kill->header->issued_at_ms + 60000;
    expect_bad_kill(self, "one that expires", self->at.alice, kill, "does not expire");
    expect_bad_kill(self, "version 0", self->at.alice, kill_new(KILL_GLOBAL, "", true, 0, memory),
                    "begins at 1");
    expect_bad_kill(self, "a subject of the global one", self->at.alice,
                    kill_new(KILL_GLOBAL, "x", true, 1, memory), "subject");
    expect_bad_kill(self, "no subject", self->at.alice, kill_new(KILL_VERB, "", true, 1, memory), "subject");
    expect_bad_kill(self, "no scope", self->at.alice, kill_new(0, "x", true, 1, memory), "scope");
    expect_bad_kill(self, "unknown scope", self->at.alice,
                    kill_new((Interlock__Control__V1__Kill__Scope)9, "x", true, 1, memory), "scope");
}

static void expect_bad_enrolment(world *self, const char *label, Interlock__Control__V1__Enrolment *enrolment,
                                 const char *words) {
    self->count = 0;
    seen_free(&self->known);
    set_text(self, "control/seq", "9");
    set(self, enrolment_key(self, &self->deployer),
        signed_by(self->at.alice, PAYLOAD_ENROLMENT, &enrolment->base, &self->memory));
    expect_refused(self, label, words);
}

static void tampered_enrolments_are_refused(void **state) {
    world *self = *state;
    arena *memory = &self->memory;
    static const char *const principals[] = {
        "",          "agent/",    "agent",   "operator/eve",  "service/policy",
        "agent/a b", "agent/a/b", "Agent/a", "agent/\xc3\xa9"};
    for (size_t i = 0; i < sizeof principals / sizeof *principals; i++)
        expect_bad_enrolment(self, principals[i], enrolment_new(principals[i], &self->deployer, 1, memory),
                             "principal");
    char name[200];
    memset(name, 'a', sizeof name);
    memcpy(name, "agent/", 6);
    name[199] = '\0';
    expect_bad_enrolment(self, "a long principal", enrolment_new(name, &self->deployer, 1, memory),
                         "principal");
    Interlock__Control__V1__Enrolment *enrolment = enrolment_new("agent/a", &self->deployer, 1, memory);
    enrolment->public_key.len = 31;
    expect_bad_enrolment(self, "a short key", enrolment, "public_key");
    expect_bad_enrolment(self, "a key at another's place",
                         enrolment_new("agent/a", &self->executor, 1, memory), "its place is");
    expect_bad_enrolment(self, "a rooted key",
                         enrolment_new("agent/a", secret_key_public(self->at.record), 1, memory),
                         "one purpose");
    char *many[STATEMENT_CARRIERS_MAX + 1];
    for (size_t i = 0; i <= STATEMENT_CARRIERS_MAX; i++)
        many[i] = "spiffe://demo/agent/a";
    enrolment = enrolment_new("agent/a", &self->deployer, 1, memory);
    enrolment->carriers = many;
    enrolment->n_carriers = STATEMENT_CARRIERS_MAX + 1;
    expect_bad_enrolment(self, "too many carriers", enrolment, "carriers");
    many[0] = "";
    enrolment->n_carriers = 1;
    expect_bad_enrolment(self, "an empty carrier", enrolment, "carriers");
}

/* Every byte of a stored statement matters: no bit can be changed without the whole being refused. */
static void no_bit_can_change(void **state) {
    world *self = *state;
    set_text(self, "control/seq", "1");
    set_kill(self, KILL_VERB, "exec", true, 1);
    coord_kv *kv = &self->kvs[0];
    assert_non_null(strstr(kv->key, "kill"));
    uint8_t *copy = arena_copy(&self->memory, kv->value.data, kv->value.size);
    /* The keyid is a hint that nobody trusts: the one part whose change is not noticed. It comes last. */
    size_t hint = CRYPTO_KEYID_CHARS;
    kv->value.data = copy;
    for (size_t bit = 0; bit < 8 * (kv->value.size - hint); bit++) {
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
        view_box *box = NULL;
        failure why = {0};
        if (build(self, &box, &why) == STATUS_OK)
            fail_msg("bit %zu was changed and nobody minded", bit);
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
        seen_free(&self->known);
    }
    expect_good(self);
}

static void other_encodings_are_refused(void **state) {
    world *self = *state;
    arena *memory = &self->memory;
    Interlock__Control__V1__Kill *kill = kill_new(KILL_GLOBAL, "", true, 1, memory);
    bytes payload = packed(&kill->base, memory);
    uint8_t *longer = arena_alloc(memory, payload.size + 8);
    memcpy(longer, payload.data, payload.size);
    static const struct {
        const char *label;
        uint8_t tail[2];
    } tails[] = {
        {"an unknown field", {0x78, 0x01}}, {"set again", {0x20, 0x01}}, {"a default value", {0x28, 0x00}}};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        memcpy(longer + payload.size, tails[i].tail, 2);
        Interlock__Common__V1__Envelope *envelope =
            dsse_sign(self->at.alice, PAYLOAD_KILL, bytes_of(longer, payload.size + 2), memory);
        self->count = 0;
        set_text(self, "control/seq", "1");
        set(self, "control/kill/global/", packed(&envelope->base, memory));
        expect_refused(self, tails[i].label, "");
    }
    /* The envelope's own encoding too: an unknown field behind it. */
    Interlock__Common__V1__Envelope *envelope = dsse_sign(self->at.alice, PAYLOAD_KILL, payload, memory);
    bytes whole = packed(&envelope->base, memory);
    longer = arena_alloc(memory, whole.size + 2);
    memcpy(longer, whole.data, whole.size);
    memcpy(longer + whole.size, tails[0].tail, 2);
    set(self, "control/kill/global/", bytes_of(longer, whole.size + 2));
    expect_refused(self, "an envelope with more in it", "");
    set(self, "control/kill/global/", whole);
    expect_good(self);
}

static void two_signatures_are_refused(void **state) {
    world *self = *state;
    arena *memory = &self->memory;
    Interlock__Common__V1__Envelope *envelope = dsse_sign_message(
        self->at.alice, PAYLOAD_KILL, &kill_new(KILL_GLOBAL, "", true, 1, memory)->base, memory);
    Interlock__Common__V1__Signature *both[] = {envelope->signatures[0], envelope->signatures[0]};
    envelope->signatures = both;
    envelope->n_signatures = 2;
    set_text(self, "control/seq", "1");
    set(self, "control/kill/global/", packed(&envelope->base, memory));
    expect_refused(self, "two signatures", "no operator's key");
    envelope->n_signatures = 0;
    set(self, "control/kill/global/", packed(&envelope->base, memory));
    expect_refused(self, "no signature", "no operator's key");
    envelope->n_signatures = 1;
    envelope->payload_type = PAYLOAD_ACTION;
    set(self, "control/kill/global/", packed(&envelope->base, memory));
    expect_refused(self, "another payload type", "no control statement");
}

/* ---- The store as a whole ---- */

static void numbers_are_decimals(void **state) {
    world *self = *state;
    static const char *const bad[] = {
        "", " 1", "1 ", "+1", "-1", "01", "1e3", "0x1", "9223372036854775808", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        set_text(self, "control/seq", bad[i]);
        expect_refused(self, bad[i], "control/seq");
    }
    set_text(self, "control/seq", "9223372036854775807");
    expect_good(self);
}

static void unknown_keys_close(void **state) {
    world *self = *state;
    fill(self);
    set_text(self, "control/grant/x", "anything");
    expect_refused(self, "a key that this version does not know", "control/grant/x");
    unset(self, "control/grant/x");
    expect_good(self);
}

static void nothing_disappears(void **state) {
    world *self = *state;
    fill(self);
    expect_good(self);
    for (size_t i = 0; i < self->count; i++) {
        coord_kv taken = self->kvs[i];
        if (strcmp(taken.key, "control/seq") == 0)
            continue;
        unset(self, taken.key);
        set_text(self, "control/seq", "6"); /* the thief may count as well */
        expect_refused(self, taken.key, strcmp(taken.key, "control/epoch") == 0 ? "epoch" : "disappeared");
        set(self, taken.key, taken.value);
        expect_good(self);
    }
}

static void nothing_goes_back(void **state) {
    world *self = *state;
    fill(self);
    set_kill(self, KILL_GLOBAL, "", false, 1);
    coord_kv cleared = self->kvs[0];
    for (size_t i = 0; i < self->count; i++)
        if (strcmp(self->kvs[i].key, "control/kill/global/") == 0)
            cleared = self->kvs[i];
    set_kill(self, KILL_GLOBAL, "", true, 2);
    set_text(self, "control/seq", "7");
    expect_good(self);
    coord_kv now = cleared;
    for (size_t i = 0; i < self->count; i++)
        if (strcmp(self->kvs[i].key, "control/kill/global/") == 0)
            now = self->kvs[i];

    set(self, cleared.key, cleared.value);
    set_text(self, "control/seq", "8");
    expect_refused(self, "an older statement put back", "version 1, but 2");
    set_kill(self, KILL_GLOBAL, "", false, 2);
    expect_refused(self, "another statement of the same version", "another statement");
    set(self, now.key, now.value);
    set_text(self, "control/seq", "8");
    expect_good(self);
    set_text(self, "control/seq", "7");
    expect_refused(self, "the sequence put back", "control/seq is 7, but 8");
    set_text(self, "control/seq", "8");
    set_text(self, "control/epoch", "1");
    expect_refused(self, "the epoch put back", "control/epoch is 1, but 2");
}

/* A higher version that stood there for a moment is remembered, even when something else was wrong just then.
 */
static void what_was_seen_in_a_bad_read_counts(void **state) {
    world *self = *state;
    fill(self);
    expect_good(self);
    set_policy(self, "rules: [new]", 2);
    set_text(self, "control/junk", "x");
    set_text(self, "control/seq", "6");
    expect_refused(self, "junk", "control/junk");
    unset(self, "control/junk");
    set_policy(self, "rules: []", 1);
    expect_refused(self, "the old policy put back", "version 1, but 2");
}

static void sequence_is_at_least_the_writes(void **state) {
    world *self = *state;
    fill(self);
    set_text(self, "control/seq", "4");
    expect_refused(self, "fewer writes than statements", "4, but 5 statements");
    unset(self, "control/seq");
    expect_refused(self, "no sequence", "control/seq is 0");
}

static void reasons_count_what_was_refused(void **state) {
    world *self = *state;
    set_text(self, "control/a", "x");
    set_text(self, "control/b", "x");
    set_text(self, "control/seq", "junk");
    expect_refused(self, "three", "3 statements or numbers refused, the first: control/a");
}

/* ---- Pure rules ---- */

#define MS 1000000ULL

static void freshness_ends_three_seconds_after_the_question(void **state) {
    (void)state;
    uint64_t sent = 5000 * MS;
    assert_false(freshness_holds(0, 0));
    assert_false(freshness_holds(0, 10));
    assert_true(freshness_holds(sent, sent));
    assert_true(freshness_holds(sent, sent + 3000 * MS - 1));
    assert_false(freshness_holds(sent, sent + 3000 * MS));
    assert_false(freshness_holds(sent, UINT64_MAX));
    assert_false(freshness_holds(sent, sent - 1)); /* another boot */
}

#define HERE "11111111-1111-1111-1111-111111111111"
#define ELSEWHERE "22222222-2222-2222-2222-222222222222"
#define CONFIRMED INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_CONFIRMED
#define SELF_CLOSED INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_SELF_CLOSED
#define UNKNOWN INTERLOCK__CONTROL__V1__REPLICA_STATE__REPLICA_STATE_UNKNOWN

static const struct {
    const char *label;
    uint64_t applied;
    const char *boot;
    uint64_t proof_age_ms, seq_known_ms;
    Interlock__Control__V1__ReplicaState expected;
} judgements[] = {
    {"applied", 7, HERE, 0, 0, CONFIRMED},
    {"applied more", 8, HERE, 0, 0, CONFIRMED},
    {"applied, long silent", 7, HERE, 60000, 60000, CONFIRMED},
    {"behind, just heard of", 6, HERE, 100, 100, UNKNOWN},
    {"behind, proof at the bound", 6, HERE, 3000, 3000, SELF_CLOSED},
    {"behind, proof just within", 6, HERE, 2999, 9000, UNKNOWN},
    {"behind, but it may have proved more since than it announced", 6, HERE, 3500, 500, UNKNOWN},
    {"behind, on another machine", 6, ELSEWHERE, 3500, 9000, UNKNOWN},
    {"behind, on another machine, even if its clock is off", 6, ELSEWHERE, 33000, 9000, SELF_CLOSED},
};

static void replicas_are_judged_by_what_is_sure(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof judgements / sizeof *judgements; i++) {
        announcement said = {.applied_seq = judgements[i].applied,
                             .proof_boot_ns = (100000 - judgements[i].proof_age_ms) * MS,
                             .proof_wall_ms = 900000 - (int64_t)judgements[i].proof_age_ms};
        snprintf(said.boot_id, sizeof said.boot_id, "%s", judgements[i].boot);
        announcement_view now = {.current_seq = 7,
                                 .current_since_ns = (100000 - judgements[i].seq_known_ms) * MS,
                                 .boot_id = HERE,
                                 .boot_ns = 100000 * MS,
                                 .wall_ms = 900000};
        uint64_t age = 0;
        if (announcement_judge(&said, &now, &age) != judgements[i].expected)
            fail_msg("%s", judgements[i].label);
        assert_int_equal(age, judgements[i].proof_age_ms);
    }
}

static void announcements_are_read_strictly(void **state) {
    (void)state;
    announcement said = {.applied_seq = 7, .boot_id = HERE, .proof_boot_ns = 12345, .proof_wall_ms = 67890},
                 again;
    memset(&again, 0, sizeof again);
    buffer text;
    buffer_init(&text, 256);
    announcement_write(&said, &text);
    assert_true(announcement_parse(buffer_bytes(&text), &again));
    assert_int_equal(again.applied_seq, said.applied_seq);
    assert_string_equal(again.boot_id, said.boot_id);
    assert_int_equal(again.proof_boot_ns, said.proof_boot_ns);
    assert_int_equal(again.proof_wall_ms, said.proof_wall_ms);
    for (size_t size = 0; size < text.size; size++)
        if (text.data[size] == ' ')
            assert_false(announcement_parse(bytes_of(text.data, size), &again));
    buffer_text(&text, " ");
    buffer_text(&text, "1");
    assert_false(announcement_parse(buffer_bytes(&text), &again));
    buffer_free(&text);
    static const char *const bad[] = {"",
                                      "1",
                                      "2 7 " HERE " 1 1",
                                      "1 7 short 1 1",
                                      "1  7 " HERE " 1 1",
                                      "1 -7 " HERE " 1 1",
                                      "1 7 " HERE " 1 x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (announcement_parse(bytes_of_text(bad[i]), &again))
            fail_msg("\"%s\" was read", bad[i]);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, world_make, world_free)

/* The shadow set stands at a key of its own, with versions of its own; without documents it has ended. A
 * statement at the other one's key, one without documents that is to be in force, and a rollback upwards are
 * refused. */
static void put_set(world *self, const char *key, const char *document, uint64_t version, bool of_shadow,
                    uint64_t rollback_of) {
    Interlock__Control__V1__PolicySet *made = policy_new(document, version, &self->memory);
    made->shadow = of_shadow;
    made->rollback_of = rollback_of;
    set(self, key, signed_by(self->at.alice, PAYLOAD_POLICY_SET, &made->base, &self->memory));
}

static void shadow_stands_beside(void **state) {
    world *self = *state;
    view_box *box = NULL;
    failure why = {0};
    fill(self);
    set_text(self, "control/seq", "9");
    put_set(self, "control/shadow", "other: []", 1, true, 0);
    assert_int_equal(build(self, &box, &why), STATUS_OK);
    assert_string_equal(box->view.policy->name, box->view.shadow->name);
    assert_int_equal(box->view.shadow->document.len, 9);
    assert_string_not_equal(box->view.policy_digest, box->view.shadow_digest);
    view_unref(box);
    put_set(self, "control/shadow", "", 2, true, 0);
    assert_int_equal(build(self, &box, &why), STATUS_OK);
    assert_int_equal(box->view.shadow->document.len, 0);
    view_unref(box);
    put_set(self, "control/policy", "rules: [1]", 7, false, 3);
    expect_good(self);
    put_set(self, "control/policy", "rules: [2]", 8, false, 8);
    expect_refused(self, "rolled back upwards", "rollback_of");
    put_set(self, "control/policy", "", 9, false, 0);
    expect_refused(self, "no documents in force", "document");
    put_set(self, "control/policy", "rules: [3]", 10, true, 0);
    expect_refused(self, "a shadow set in force", "its place is control/shadow");
}

int main(void) {
    const struct CMUnitTest tests[] = {CASE(empty_store_is_an_empty_view),
                                       CASE(view_says_what_was_signed),
                                       CASE(kill_switches_cover_their_scope),
                                       CASE(long_subjects_have_a_place),
                                       CASE(tampered_kills_are_refused),
                                       CASE(tampered_enrolments_are_refused),
                                       CASE(no_bit_can_change),
                                       CASE(other_encodings_are_refused),
                                       CASE(two_signatures_are_refused),
                                       CASE(numbers_are_decimals),
                                       CASE(unknown_keys_close),
                                       CASE(nothing_disappears),
                                       CASE(nothing_goes_back),
                                       CASE(what_was_seen_in_a_bad_read_counts),
                                       CASE(sequence_is_at_least_the_writes),
                                       CASE(reasons_count_what_was_refused),
                                       CASE(shadow_stands_beside),
                                       cmocka_unit_test(freshness_ends_three_seconds_after_the_question),
                                       cmocka_unit_test(replicas_are_judged_by_what_is_sure),
                                       cmocka_unit_test(announcements_are_read_strictly)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
