/* Any bytes as an event's type, subject and data: what is taken is in order, with well-formed names. */
#include <stdlib.h>
#include <string.h>

#include "events.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds)
        abort();
}

/* The first byte chooses the type, a line the subject, the rest is data. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char *const types[] = {"interlock.deploy",
                                  "interlock.config",
                                  "interlock.flag",
                                  "interlock.incident.opened",
                                  "interlock.incident.resolved",
                                  "interlock.alert"};
    arena memory;
    change_list out;
    cloud_event event = IO__CLOUDEVENTS__V1__CLOUD_EVENT__INIT;
    Io__Cloudevents__V1__CloudEvent__AttributesEntry entry =
        IO__CLOUDEVENTS__V1__CLOUD_EVENT__ATTRIBUTES_ENTRY__INIT;
    Io__Cloudevents__V1__CloudEvent__AttributesEntry *entries[] = {&entry};
    Io__Cloudevents__V1__CloudEvent__CloudEventAttributeValue value =
        IO__CLOUDEVENTS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__INIT;
    failure why = {0};
    const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
    if (line == NULL || memchr(data, '\0', size) != NULL || !utf8_valid(bytes_of(data + 1, size - 1)))
        return 0;
    arena_init(&memory, 4096, 64U << 20);
    event.id = "1";
    event.source = "/fuzz";
    event.spec_version = "1.0";
    event.type = types[data[0] % (sizeof types / sizeof *types)];
    entry.key = "subject";
    entry.value = &value;
    value.attr_case = IO__CLOUDEVENTS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_STRING;
    value.ce_string =
        arena_format(&memory, "%.*s", (int)(line - data) - (line > data ? 1 : 0), (const char *)data + 1);
    event.attributes = entries;
    event.n_attributes = 1;
    event.data_case = IO__CLOUDEVENTS__V1__CLOUD_EVENT__DATA_TEXT_DATA;
    event.text_data =
        arena_format(&memory, "%.*s", (int)(size - (size_t)(line - data) - 1), (const char *)line + 1);
    if (event.text_data == NULL || value.ce_string == NULL ||
        event_read(&event, 1795375490000, &memory, &out, &why) != STATUS_OK) {
        arena_free(&memory);
        return 0;
    }
    for (size_t i = 0; i < out.count; i++) {
        const statements *what = &out.items[i].what;
        demand(strlen(out.items[i].lane) < CHANGE_LANE_BYTES && what->finished);
        for (size_t j = 0; j < what->count; j++) {
            name_parts parts;
            demand(name_parse(what->items[j].name, &parts, NULL) == STATUS_OK);
            demand(j == 0 || statement_compare(&what->items[j - 1], &what->items[j]) < 0);
        }
    }
    arena_free(&memory);
    return 0;
}
