/* Recalling and learning when memory runs out at any point: an answer is whole or none, a batch is learnt
 * once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/dsse.h"
#include "fail_allocation.h"
#include "memory.h"
#include "test.h"
#include "wire/scan.h"

#define CART "service:prod/shop/cart"
#define ENTRIES 4U

typedef struct fixture {
    char folder[64], file[96];
    memory_store *store;
    arena kept, memory;
    Interlock__Audit__V1__Entry *log[ENTRIES];
    Interlock__Memory__V1__RecallResponse response;
} fixture;

static fixture self;

static ProtobufCBinaryData packed(const ProtobufCMessage *message) {
    bytes out = {0};
    failure why = {0};
    assert_int_equal(wire_pack(message, &self.kept, &out, &why), STATUS_OK);
    return (ProtobufCBinaryData){.len = out.size, .data = (uint8_t *)(uintptr_t)out.data};
}

static void put_entry(size_t index, Interlock__Audit__V1__RecordKind kind, const char *action_id,
                      const ProtobufCMessage *body) {
    Interlock__Audit__V1__Leaf leaf = INTERLOCK__AUDIT__V1__LEAF__INIT;
    leaf.version = 1;
    leaf.kind = kind;
    leaf.action_id = (char *)(uintptr_t)action_id;
    Interlock__Audit__V1__Entry *entry = arena_alloc(&self.kept, sizeof *entry);
    assert_non_null(entry);
    interlock__audit__v1__entry__init(entry);
    entry->index = index;
    entry->leaf = packed(&leaf.base);
    if (body != NULL) {
        entry->record = arena_alloc(&self.kept, sizeof *entry->record);
        assert_non_null(entry->record);
        interlock__common__v1__envelope__init(entry->record);
        entry->record->payload_type = arena_text(&self.kept, PAYLOAD_DECISION);
        entry->record->payload = packed(body);
    }
    self.log[index] = entry;
}

static void put_decision(size_t index, const char *action_id) {
    static uint8_t digest[32] = {7};
    static char target[] = CART, principal[] = "agent/deployer", verb[] = "deploy", summary[] = "said so";
    char *targets[] = {target};
    Interlock__Policy__V1__Decision decision = INTERLOCK__POLICY__V1__DECISION__INIT;
    decision.action_id = (char *)(uintptr_t)action_id;
    decision.action_digest = (ProtobufCBinaryData){.len = 32, .data = digest};
    decision.outcome = INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_DENY;
    decision.mode = INTERLOCK__POLICY__V1__MODE__MODE_ENFORCED;
    decision.principal = principal;
    decision.verb = verb;
    decision.targets = targets;
    decision.n_targets = 1;
    decision.summary = summary;
    Interlock__Policy__V1__DecisionRecord record = INTERLOCK__POLICY__V1__DECISION_RECORD__INIT;
    record.decision = &decision;
    put_entry(index, INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_DECISION, action_id, &record.base);
}

static int set_up(void **state) {
    (void)state;
    snprintf(self.folder, sizeof self.folder, "%s/memory-fault-XXXXXX", fast_folder());
    assert_non_null(mkdtemp(self.folder));
    snprintf(self.file, sizeof self.file, "%s/memory.db", self.folder);
    arena_init(&self.kept, 65536, 1U << 20);
    put_entry(0, INTERLOCK__AUDIT__V1__RECORD_KIND__RECORD_KIND_GENESIS, "", NULL);
    put_decision(1, "a-1");
    put_decision(2, "a-2");
    put_decision(3, "a-3");
    return 0;
}

static void remove_files(void) {
    static const char *const endings[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", self.file, endings[i]);
        unlink(name);
    }
}

static int tear_down(void **state) {
    (void)state;
    arena_free(&self.kept);
    return rmdir(self.folder);
}

static status_code learnt;

static status_code learn(void *context, failure *why) {
    (void)context;
    Interlock__Audit__V1__TailResponse batch = INTERLOCK__AUDIT__V1__TAIL_RESPONSE__INIT;
    batch.entries = self.log;
    batch.n_entries = ENTRIES;
    batch.tree_size = ENTRIES;
    learnt = memory_learn(self.store, &batch, &self.memory, why);
    return learnt;
}

static status_code recall(void *context, failure *why) {
    (void)context;
    static char node[] = CART;
    Interlock__Memory__V1__RecallRequest request = INTERLOCK__MEMORY__V1__RECALL_REQUEST__INIT;
    request.node = node;
    return memory_recall(self.store, &request, &self.memory, &self.response, why);
}

static void begin(void *context) {
    failure why = {0};
    (void)context;
    arena_init(&self.memory, 64, 1U << 20);
    assert_int_equal(memory_store_open(&self.store, self.file, &why), STATUS_OK);
    interlock__memory__v1__recall_response__init(&self.response);
}

static void begin_recall(void *context) {
    failure why = {0};
    begin(context);
    assert_int_equal(learn(context, &why), STATUS_OK);
    arena_reset(&self.memory);
}

static void end(void *context) {
    (void)context;
    memory_store_close(self.store);
    self.store = NULL;
    arena_free(&self.memory);
    remove_files();
}

static void check_recalled(void *context, bool done) {
    (void)context;
    assert_int_equal(self.response.n_memories, done ? 3 : 0);
    assert_int_equal(self.response.matching, done ? 3 : 0);
    if (done)
        assert_string_equal(self.response.memories[0]->action_id, "a-3");
}

static void check_learnt(void *context, bool done) {
    (void)context;
    uint64_t next = 99;
    failure why = {0};
    if (!done && learnt == STATUS_DATA_LOSS) {
        /* The COMMIT itself failed: the process would end, and the next one finds the batch whole or not at
         * all. */
        memory_store_close(self.store);
        assert_int_equal(memory_store_open(&self.store, self.file, &why), STATUS_OK);
        assert_int_equal(memory_store_next_index(self.store, &next, &why), STATUS_OK);
        assert_true(next == 0 || next == ENTRIES);
        return;
    }
    assert_int_equal(memory_store_next_index(self.store, &next, &why), STATUS_OK);
    assert_int_equal(next, done ? ENTRIES : 0);
}

static void recalling(void **state) {
    (void)state;
    fail_each_allocation(&(fault_case){.name = "memory_recall",
                                       .begin = begin_recall,
                                       .end = end,
                                       .run = recall,
                                       .check = check_recalled,
                                       .memory = &self.memory,
                                       .may_do_without = true});
}

static void learning(void **state) {
    (void)state;
    fail_each_allocation(&(fault_case){.name = "memory_learn",
                                       .begin = begin,
                                       .end = end,
                                       .run = learn,
                                       .check = check_learnt,
                                       .may_do_without = true});
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(recalling), cmocka_unit_test(learning)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
