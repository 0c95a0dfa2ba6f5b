/* A failure on the wire and back; hostile details; the bounded store of reasons. */
#include <grpc/slice.h>

#include "detail.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "rpc_test.h"

static void round_trip(const failure *why, failure *back) {
    grpc_slice slice = detail_encode(why->code, why);
    detail_decode(why->code, bytes_of_text(why->message),
                  bytes_of(GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice)), back);
    grpc_slice_unref(slice);
}

static void comes_back_as_it_was(void **state) {
    (void)state;
    failure why, back;
    fail_field(&why, "action.targets[3]", "NODE_UNKNOWN", "the node %s is not known; look at the graph", "x");
    why.retry_after_ms = 61234;
    round_trip(&why, &back);
    assert_int_equal(back.code, STATUS_INVALID_ARGUMENT);
    assert_string_equal(back.reason, "NODE_UNKNOWN");
    assert_ptr_not_equal(back.reason, why.reason);
    assert_string_equal(back.message, why.message);
    assert_string_equal(back.field, why.field);
    assert_int_equal(back.retry_after_ms, 61234);
}

static void the_domain_is_ours(void **state) {
    (void)state;
    failure why;
    fail(&why, STATUS_ABORTED, "A_REASON", "a message");
    grpc_slice slice = detail_encode(why.code, &why);
    Google__Rpc__Status *status =
        google__rpc__status__unpack(NULL, GRPC_SLICE_LENGTH(slice), GRPC_SLICE_START_PTR(slice));
    assert_int_equal(status->code, STATUS_ABORTED);
    assert_int_equal(status->n_details, 1);
    assert_string_equal(status->details[0]->type_url, "type.googleapis.com/google.rpc.ErrorInfo");
    Google__Rpc__ErrorInfo *info =
        google__rpc__error_info__unpack(NULL, status->details[0]->value.len, status->details[0]->value.data);
    assert_string_equal(info->domain, "interlock");
    assert_string_equal(info->reason, "A_REASON");
    google__rpc__error_info__free_unpacked(info, NULL);
    google__rpc__status__free_unpacked(status, NULL);
    grpc_slice_unref(slice);
}

/* A text cut in the middle of a character must not make the reason unreadable. */
static void a_cut_character(void **state) {
    (void)state;
    failure why, back;
    fail(&why, STATUS_ABORTED, "CUT", "%0510d\xc3", 0);
    round_trip(&why, &back);
    assert_string_equal(back.reason, "CUT");
}

static void unreadable_details_leave_the_code(void **state) {
    (void)state;
    failure back;
    detail_decode(STATUS_NOT_FOUND, bytes_of_text("gone"), bytes_of("\xff\xff\xff", 3), &back);
    assert_int_equal(back.code, STATUS_NOT_FOUND);
    assert_string_equal(back.reason, "NOT_FOUND");
    assert_string_equal(back.message, "gone");
    detail_decode(STATUS_UNAVAILABLE, (bytes){0}, (bytes){0}, &back);
    assert_string_equal(back.reason, "UNAVAILABLE");
    assert_string_equal(back.message, "");
}

static void reasons_are_kept_within_a_bound(void **state) {
    (void)state;
    const char *first = reason_intern(bytes_of_text("FIRST_REASON"));
    assert_string_equal(first, "FIRST_REASON");
    assert_ptr_equal(reason_intern(bytes_of_text("FIRST_REASON")), first);
    assert_string_equal(reason_intern(bytes_of_text("no word")), "REASON_MALFORMED");
    assert_string_equal(reason_intern((bytes){0}), "REASON_MALFORMED");
    char text[32];
    unsigned kept = 0;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "REASON_%u", i);
        kept += strcmp(reason_intern(bytes_of_text(text)), text) == 0;
    }
    assert_true(kept > 200 && kept <= 256);
    assert_string_equal(reason_intern(bytes_of_text("ONE_TOO_MANY")), "REASON_NOT_KEPT");
    assert_ptr_equal(reason_intern(bytes_of_text("FIRST_REASON")), first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_as_it_was),
        cmocka_unit_test(the_domain_is_ours),
        cmocka_unit_test(a_cut_character),
        cmocka_unit_test(unreadable_details_leave_the_code),
        cmocka_unit_test(reasons_are_kept_within_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
