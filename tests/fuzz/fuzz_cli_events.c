/* CloudEvents as a backtest reads them: whatever is accepted can be sorted and attributed. */
#include <stdlib.h>

#include "backtest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena memory;
    backtest past;
    failure why = {0};
    arena_init(&memory, 65536, 64U << 20);
    backtest_init(&past, &memory);
    if (backtest_read(&past, "events", bytes_of(data, size), &why) == STATUS_OK) {
        backtest_sort(&past);
        backtest_attribute(&past, 3600000);
        for (size_t i = 0; i < past.incident_count; i++)
            if (past.incidents[i].cause != BACKTEST_NONE && past.incidents[i].cause >= past.change_count)
                abort();
    } else if (why.message[0] == '\0') {
        abort();
    }
    arena_free(&memory);
    return 0;
}
