/* The details of a failure as a server, or whoever plays one, sends them: any bytes become a failure whose
 * texts are terminated, whose reason is a word, and whose delay is within a day. */
#include <stdlib.h>
#include <string.h>

#include "detail.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t text = size > 0 ? data[0] % size : 0;
    failure why;
    detail_decode(STATUS_ABORTED, bytes_of(data, text), bytes_of(data + text, size - text), &why);
    if (why.code != STATUS_ABORTED || memchr(why.message, 0, sizeof why.message) == NULL ||
        memchr(why.field, 0, sizeof why.field) == NULL || why.reason[0] < 'A' || why.reason[0] > 'Z' ||
        why.retry_after_ms >= 86400000)
        abort();
    return 0;
}
