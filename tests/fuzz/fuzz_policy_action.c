/* Any bytes as the payload of an action's envelope: past the signature, which a fuzzer cannot make,
 * everything that action_open does with them. An action that is taken can be decided on. */
#include <assert.h>
#include <string.h>

#include "decide.h"
#include "wire/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decide_on(const Interlock__Policy__V1__Action *action, arena *memory) {
    static const uint8_t zeros[32] = {0};
    Interlock__Control__V1__Enrolment enrolment = INTERLOCK__CONTROL__V1__ENROLMENT__INIT;
    control_enrolment key = {.statement = &enrolment};
    decision_facts facts = {.installation = "demo",
                            .action = action,
                            .digest = zeros,
                            .enrolment = &key,
                            .permit_id = zeros,
                            .control_fresh = true,
                            .impact_reason = "",
                            .executor_principal = "executor/local"};
    Interlock__Policy__V1__Decision *decision = NULL;
    if (decide(&facts, memory, &decision, NULL) == STATUS_OK)
        assert(decision->outcome == INTERLOCK__POLICY__V1__OUTCOME__OUTCOME_DENY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena memory;
    arena_init(&memory, 65536, 16U << 20);
    ProtobufCMessage *message = NULL;
    failure why = {0};
    if (wire_unpack_signed(&interlock__policy__v1__action__descriptor, bytes_of(data, size), &memory,
                           &message, &why) == STATUS_OK) {
        const Interlock__Policy__V1__Action *action = (const Interlock__Policy__V1__Action *)message;
        if (action_check(action, &why) == STATUS_OK)
            decide_on(action, &memory);
    }
    arena_free(&memory);
    return 0;
}
