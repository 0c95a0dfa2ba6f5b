/* Any bytes as a CloudEvent in JSON: what is taken packs and unpacks as the same message. */
#include <stdlib.h>
#include <string.h>

#include "client/cloud_events.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena memory;
    Io__Cloudevents__V1__CloudEvent *event = NULL;
    failure why = {0};
    arena_init(&memory, 4096, 64U << 20);
    if (cloud_event_from_json(bytes_of(data, size), &memory, &event, &why) == STATUS_OK) {
        size_t packed_size = io__cloudevents__v1__cloud_event__get_packed_size(event);
        uint8_t *packed = arena_alloc(&memory, packed_size + 1);
        demand(event->id[0] != '\0' && event->type[0] != '\0');
        demand(packed != NULL && io__cloudevents__v1__cloud_event__pack(event, packed) == packed_size);
        Io__Cloudevents__V1__CloudEvent *again =
            io__cloudevents__v1__cloud_event__unpack(NULL, packed_size, packed);
        demand(again != NULL && again->n_attributes == event->n_attributes &&
               strcmp(again->id, event->id) == 0);
        io__cloudevents__v1__cloud_event__free_unpacked(again, NULL);
    } else {
        demand(why.reason != NULL);
    }
    arena_free(&memory);
    return 0;
}
