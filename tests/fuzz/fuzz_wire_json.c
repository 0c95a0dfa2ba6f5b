/* Any bytes as JSON: what is read and written again reads and writes as the same text. The first byte chooses
 * the style. */
#include <stdlib.h>
#include <string.h>

#include "everything.pb-c.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const ProtobufCMessageDescriptor *type, bytes json, wire_json_style style) {
    arena memory;
    arena_init(&memory, 4096, 16U << 20);
    buffer first;
    buffer second;
    buffer_init(&first, 16U << 20);
    buffer_init(&second, 16U << 20);
    ProtobufCMessage *message = NULL;
    failure why;
    if (wire_from_json(type, json, style, &memory, &message, &why) == STATUS_OK) {
        if (wire_to_json(message, style, false, &first, &why) != STATUS_OK ||
            wire_from_json(type, buffer_bytes(&first), style, &memory, &message, &why) != STATUS_OK ||
            wire_to_json(message, style, false, &second, &why) != STATUS_OK ||
            !bytes_equal(buffer_bytes(&first), buffer_bytes(&second)))
            abort();
    } else if (!utf8_valid(bytes_of_text(why.message)) || why.reason == NULL) {
        abort();
    }
    buffer_free(&first);
    buffer_free(&second);
    arena_free(&memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    bytes json = bytes_of(data + 1, size - 1);
    if (data[0] % 2 == 0)
        check(&interlock__test__v1__everything__descriptor, json, WIRE_JSON_CANONICAL);
    else
        check(&opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor, json,
              WIRE_JSON_OTLP);
    return 0;
}
