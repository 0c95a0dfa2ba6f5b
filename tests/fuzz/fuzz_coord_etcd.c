/* The readers of etcd's answers: the first byte chooses the kind, the rest is what a gateway might say.
 * Whatever was taken must be whole. */
#include <stdlib.h>

#include "etcd_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds)
        abort();
}

static void read_answer(bytes json, arena *memory) {
    etcd_answer answer = {0};
    failure why = {0};
    if (etcd_wire_answer(json, memory, &answer, &why) != STATUS_OK) {
        demand(answer.revision == 0 && why.reason != NULL);
        return;
    }
    demand(answer.revision >= 1);
    for (size_t i = 0; i < answer.count; i++)
        demand(answer.kvs[i].key != NULL &&
               (answer.kvs[i].value.size == 0 || answer.kvs[i].value.data != NULL));
}

static void read_watch(bytes line, arena *memory) {
    etcd_watch_answer answer = {0};
    failure why = {0};
    if (etcd_wire_watch_answer(line, memory, &answer, &why) != STATUS_OK)
        return;
    for (size_t i = 0; i < answer.count; i++)
        demand(answer.events[i].kv.key != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena memory;
    failure why = {0};
    bool definite = false;
    if (size == 0)
        return 0;
    bytes rest = bytes_of(data + 1, size - 1);
    arena_init(&memory, 4096, 1U << 20);
    if (data[0] == 'a')
        read_answer(rest, &memory);
    else if (data[0] == 'w')
        read_watch(rest, &memory);
    else
        demand(etcd_wire_error(500, rest, &definite, &why) != STATUS_OK);
    arena_free(&memory);
    return 0;
}
