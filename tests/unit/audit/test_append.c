/* What an append request must be, before the log is asked. */
#include "audit_fixture.h"

typedef Interlock__Audit__V1__AppendRequest request_type;

static char long_text[400];

static void kind_genesis(request_type *r) {
    r->kind = KIND(GENESIS);
}
static void kind_none(request_type *r) {
    r->kind = KIND(UNSPECIFIED);
}
static void kind_unknown(request_type *r) {
    r->kind = (Interlock__Audit__V1__RecordKind)77;
}
static void no_action_id(request_type *r) {
    r->action_id = (char *)"";
}
static void long_action_id(request_type *r) {
    r->action_id = long_text + 400 - 1 - 129;
}
static void no_verdict(request_type *r) {
    r->verdict = (char *)"";
}
static void lower_verdict(request_type *r) {
    r->verdict = (char *)"Allow";
}
static void digit_verdict(request_type *r) {
    r->verdict = (char *)"1ALLOW";
}
static void long_verdict(request_type *r) {
    r->verdict = (char *)"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG";
}
static void outcome_permits(request_type *r) {
    r->kind = KIND(OUTCOME);
    r->permits = true;
}
static void huge_expect(request_type *r) {
    r->expect = (uint64_t)INT64_MAX + 1;
}
static void huge_seq(request_type *r) {
    r->control_seq = UINT64_MAX;
}
static void no_record(request_type *r) {
    r->record = NULL;
}
static void no_payload(request_type *r) {
    r->record->payload.len = 0;
}
static void no_type(request_type *r) {
    r->record->payload_type = (char *)"";
}
static void long_type(request_type *r) {
    r->record->payload_type = long_text;
}
static void no_signature(request_type *r) {
    r->record->n_signatures = 0;
}
static void short_signature(request_type *r) {
    r->record->signatures[0]->sig.len = 63;
}
static void short_keyid(request_type *r) {
    r->record->signatures[0]->keyid = (char *)"0011";
}
static void upper_keyid(request_type *r) {
    r->record->signatures[0]->keyid = (char *)"00112233445566778899AABBCCDDEEFF";
}
static void counter_no_key(request_type *r) {
    r->counters[0]->key = (char *)"";
}
static void counter_long_key(request_type *r) {
    r->counters[0]->key = long_text;
}
static void counter_short_window(request_type *r) {
    r->counters[0]->window_ms = 999;
}
static void counter_long_window(request_type *r) {
    r->counters[0]->window_ms = 2678400001U;
}
static void counter_huge_cap(request_type *r) {
    r->counters[0]->cap = UINT64_MAX;
}
static void counter_twice(request_type *r) {
    r->counters[1]->key = r->counters[0]->key;
}

static const struct {
    void (*change)(request_type *request);
    const char *reason, *field;
} invalid[] = {
    {kind_genesis, "KIND_UNKNOWN", "kind"},
    {kind_none, "KIND_UNKNOWN", "kind"},
    {kind_unknown, "KIND_UNKNOWN", "kind"},
    {no_action_id, "ACTION_ID_MISSING", "action_id"},
    {long_action_id, "ACTION_ID_TOO_LONG", "action_id"},
    {no_verdict, "VERDICT_MALFORMED", "verdict"},
    {lower_verdict, "VERDICT_MALFORMED", "verdict"},
    {digit_verdict, "VERDICT_MALFORMED", "verdict"},
    {long_verdict, "VERDICT_MALFORMED", "verdict"},
    {outcome_permits, "PERMITS_MISPLACED", "permits"},
    {huge_expect, "NUMBER_TOO_LARGE", "expect"},
    {huge_seq, "NUMBER_TOO_LARGE", "control_seq"},
    {no_record, "RECORD_MISSING", "record"},
    {no_payload, "RECORD_EMPTY", "record"},
    {no_type, "RECORD_EMPTY", "record"},
    {long_type, "RECORD_EMPTY", "record"},
    {no_signature, "RECORD_SIGNATURES", "record.signatures"},
    {short_signature, "RECORD_SIGNATURE_SHAPE", "record.signatures"},
    {short_keyid, "RECORD_SIGNATURE_SHAPE", "record.signatures"},
    {upper_keyid, "RECORD_SIGNATURE_SHAPE", "record.signatures"},
    {counter_no_key, "COUNTER_KEY", "counters.key"},
    {counter_long_key, "COUNTER_KEY", "counters.key"},
    {counter_short_window, "COUNTER_WINDOW", "counters.window_ms"},
    {counter_long_window, "COUNTER_WINDOW", "counters.window_ms"},
    {counter_huge_cap, "NUMBER_TOO_LARGE", "counters.cap"},
    {counter_twice, "COUNTER_TWICE", "counters.key"},
};

static request_type *valid(fixture *self) {
    request_type *request = request_new(self, KIND(DECISION), "a-1", 0, "ALLOW", "content");
    request_charge(self, request, "first", 10, 1000, 1);
    request_charge(self, request, "second", 10, 1000, 1);
    return request;
}

static void every_invalid_request_is_told_why(void **state) {
    fixture *self = *state;
    memset(long_text, 'x', sizeof long_text - 1);
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        failure why = {0};
        append *item = NULL;
        request_type *request = valid(self);
        invalid[i].change(request);
        assert_int_equal(append_prepare(request, &item, &why), STATUS_INVALID_ARGUMENT);
        assert_null(item);
        assert_string_equal(why.reason, invalid[i].reason);
        assert_string_equal(why.field, invalid[i].field);
        assert_true(strlen(why.message) > 10);
    }
}

static void sizes_are_allowed_up_to_their_bounds(void **state) {
    fixture *self = *state;
    static char payload[APPEND_RECORD_BYTES + 1];
    memset(payload, 'p', sizeof payload - 1);
    request_type *request = valid(self);
    request->record->payload.data = (uint8_t *)payload;
    request->record->payload.len = APPEND_RECORD_BYTES - 160; /* the envelope's other fields take fewer */
    append_free(prepare(request));
    failure why = {0};
    append *item = NULL;
    request->record->payload.len = APPEND_RECORD_BYTES;
    assert_int_equal(append_prepare(request, &item, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "RECORD_TOO_LARGE");
    request = request_new(self, KIND(DECISION), "a-1", 0, "ALLOW", "content");
    for (unsigned i = 0; i < APPEND_COUNTERS_MAX + 1; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%u", i);
        request_charge(self, request, key, 1, 1000, 1);
    }
    assert_int_equal(append_prepare(request, &item, &why), STATUS_INVALID_ARGUMENT);
    assert_string_equal(why.reason, "TOO_MANY_COUNTERS");
    request->n_counters--;
    append_free(prepare(request));
}

static void a_prepared_append_owns_all_it_needs(void **state) {
    fixture *self = *state;
    request_type *request = valid(self);
    uint8_t digest[CRYPTO_HASH_BYTES];
    leaf_payload_digest(request->record, digest);
    append *item = prepare(request);
    memset(request->action_id, 'z', 3);
    memset(request->record->payload.data, 'z', request->record->payload.len);
    memset(request->counters[0]->key, 'z', 5);
    assert_string_equal(item->action_id, "a-1");
    assert_string_equal(item->verdict, "ALLOW");
    assert_string_equal(item->charges[0].key, "first");
    assert_int_equal(item->charge_count, 2);
    assert_memory_equal(item->digest, digest, sizeof digest);
    assert_true(append_is_permit(item));
    assert_false(append_is_fence(item));
    append_free(item);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_invalid_request_is_told_why, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(sizes_are_allowed_up_to_their_bounds, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_prepared_append_owns_all_it_needs, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
