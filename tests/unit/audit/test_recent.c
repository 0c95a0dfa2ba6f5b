/* The newest records in memory: in order, without gaps, within their bounds, and the same bytes as from the
 * disk. */
#include "recent.h" /* before cmocka.h, whose macro fail() would hide ours */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "interlock/audit/v1/audit.pb-c.h"

static uint8_t content[1U << 18];

static void add(recent *self, uint64_t index, size_t payload_size) {
    Interlock__Common__V1__Envelope record = INTERLOCK__COMMON__V1__ENVELOPE__INIT;
    record.payload_type = (char *)"type";
    record.payload = (ProtobufCBinaryData){.len = payload_size, .data = content};
    size_t size = interlock__common__v1__envelope__get_packed_size(&record);
    uint8_t *packed = malloc(size);
    assert_non_null(packed);
    interlock__common__v1__envelope__pack(&record, packed);
    recent_add(self, index, bytes_of("leaf", 4), bytes_of("salt", 4), bytes_of(packed, size), true);
    free(packed);
}

/* As a follower reads it. */
static void assert_entry(const recent_entry *entry, uint64_t index, size_t payload_size) {
    uint8_t *message = malloc(entry->size + 1);
    assert_non_null(message);
    message[0] = 0x0a; /* field 1 of a TailResponse */
    memcpy(message + 1, entry->field, entry->size);
    Interlock__Audit__V1__TailResponse *batch =
        interlock__audit__v1__tail_response__unpack(NULL, entry->size + 1, message);
    assert_non_null(batch);
    assert_int_equal(batch->n_entries, 1);
    assert_int_equal(batch->entries[0]->index, index);
    assert_memory_equal(batch->entries[0]->leaf.data, "leaf", 4);
    assert_memory_equal(batch->entries[0]->salt.data, "salt", 4);
    assert_int_equal(batch->entries[0]->record->payload.len, payload_size);
    assert_int_equal(batch->n_entries, 1);
    interlock__audit__v1__tail_response__free_unpacked(batch, NULL);
    free(message);
}

static recent *make(void) {
    failure why;
    recent *self = NULL;
    assert_int_equal(recent_new(&self, &why), STATUS_OK);
    return self;
}

static size_t take(recent *self, uint64_t index, recent_entry **out, size_t room, size_t most) {
    return recent_take(self, index, out, room, most);
}

static void entries_read_as_they_were_added(void **state) {
    (void)state;
    recent *self = make();
    recent_entry *out[8];
    for (uint64_t i = 5; i < 10; i++)
        add(self, i, i == 7 ? 100000 : i);
    assert_int_equal(take(self, 4, out, 8, SIZE_MAX), 0);
    assert_int_equal(take(self, 10, out, 8, SIZE_MAX), 0);
    assert_int_equal(take(self, 6, out, 8, SIZE_MAX), 4);
    recent_free(self); /* what was taken stays */
    for (uint64_t i = 0; i < 4; i++) {
        assert_entry(out[i], 6 + i, 6 + i == 7 ? 100000 : 6 + i);
        recent_entry_release(out[i]);
    }
}

static void a_batch_is_bounded(void **state) {
    (void)state;
    recent *self = make();
    recent_entry *out[8];
    for (uint64_t i = 1; i < 20; i++)
        add(self, i, 1000);
    assert_int_equal(take(self, 1, out, 3, SIZE_MAX), 3);
    for (size_t i = 0; i < 3; i++)
        recent_entry_release(out[i]);
    assert_int_equal(take(self, 1, out, 8, 1500), 2);
    recent_entry_release(out[0]);
    recent_entry_release(out[1]);
    assert_int_equal(take(self, 1, out, 8, 1), 1); /* never none */
    recent_entry_release(out[0]);
    recent_free(self);
}

static void the_oldest_go_first(void **state) {
    (void)state;
    recent *self = make();
    recent_entry *out[1];
    for (uint64_t i = 1; i <= RECENT_MAX + 10; i++)
        add(self, i, 10);
    assert_int_equal(take(self, 10, out, 1, SIZE_MAX), 0);
    assert_int_equal(take(self, 11, out, 1, SIZE_MAX), 1);
    recent_entry_release(out[0]);
    for (uint64_t i = RECENT_MAX + 11; i < RECENT_MAX + 211; i++)
        add(self, i, sizeof content);
    assert_int_equal(take(self, RECENT_MAX + 100, out, 1, SIZE_MAX), 0); /* 16 MiB is less than 100 of them */
    assert_int_equal(take(self, RECENT_MAX + 210, out, 1, SIZE_MAX), 1);
    recent_entry_release(out[0]);
    recent_free(self);
}

static void a_gap_begins_anew(void **state) {
    (void)state;
    recent *self = make();
    recent_entry *out[8];
    add(self, 1, 10);
    add(self, 2, 10);
    add(self, 5, 10);
    assert_int_equal(take(self, 2, out, 8, SIZE_MAX), 0);
    assert_int_equal(take(self, 5, out, 8, SIZE_MAX), 1);
    recent_entry_release(out[0]);
    recent_clear(self);
    assert_int_equal(take(self, 5, out, 8, SIZE_MAX), 0);
    add(self, 6, 10);
    assert_int_equal(take(self, 6, out, 8, SIZE_MAX), 1);
    recent_entry_release(out[0]);
    recent_free(self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_read_as_they_were_added),
        cmocka_unit_test(a_batch_is_bounded),
        cmocka_unit_test(the_oldest_go_first),
        cmocka_unit_test(a_gap_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
