/* Cases for policies, and the facts in them: what is accepted is whole, what is not says why. */
#include <stdlib.h>

#include "policy_cases.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena memory;
    policy_case_file file = {0};
    failure why = {0};
    arena_init(&memory, 65536, 64U << 20);
    const yaml_source source = {.file = "cases", .text = bytes_of(data, size), .memory = &memory};
    if (policy_cases_read(&source, &file, &why) == STATUS_OK) {
        for (size_t i = 0; i < file.case_count; i++)
            if (file.cases[i].facts.target_count == 0 || file.cases[i].expect.outcome == NULL)
                abort();
    } else if (why.message[0] == '\0' || file.cases != NULL) {
        abort();
    }
    arena_free(&memory);
    return 0;
}
