/* What strangers decide about evidence: messages that may hold an exception, names of metrics, and the ids of
 * spans, from which parents, circles and self times are told. */
#include <stdlib.h>
#include <string.h>

#include "evidence_logs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SPANS 64U

static void sum_up(const uint8_t *data, size_t size) {
    gathered_span spans[SPANS];
    evidence_span out[2 * SPANS];
    int64_t start_us = 0;
    uint32_t count = 0;
    for (; count < SPANS && (count + 1) * 4 <= size; count++) {
        const uint8_t *at = data + (size_t)count * 4;
        spans[count] = (gathered_span){.span_id = at[0] % 32U + 1,
                                       .parent_id = at[1] % 34U,
                                       .start_us = at[2] * INT64_C(1000000007) - INT64_C(100000000000),
                                       .duration_us = (int64_t)at[3] * at[3] * 100000,
                                       .operation = 1,
                                       .store_operation = at[3] & 1U};
    }
    uint32_t made = trace_sum_up(spans, count, out, &start_us);
    for (uint32_t i = 0; i < made; i++) {
        int32_t at = (int32_t)i;
        for (uint32_t steps = 0; at >= 0; steps++) {
            if (steps > made || at >= (int32_t)made)
                abort(); /* a circle */
            at = out[at].parent;
        }
        if (out[i].self_us > out[i].duration_us)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char signature[EVIDENCE_ERROR_BYTES];
    double quantile;
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (exception_signature(text, signature) && strlen(signature) >= sizeof signature)
        abort();
    (void)metric_kind_of(text, &quantile);
    free(text);
    sum_up(data, size);
    return 0;
}
