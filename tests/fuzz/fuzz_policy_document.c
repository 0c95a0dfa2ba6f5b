/* Any bytes as a policy file: it is refused with a place, or its patterns and stages can be asked. */
#include <assert.h>
#include <string.h>

#include "document.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    policy_document *document = NULL;
    failure why = {0};
    status_code code = document_parse(bytes_of(data, size), &document, &why);
    if (code == STATUS_OK) {
        assert(document->version > 0 && document->name[0] != '\0');
        (void)document_mode(document, "service:prod/shop/cart");
    } else {
        assert(document == NULL && why.message[0] != '\0' && utf8_valid(bytes_of_text(why.message)));
    }
    document_unref(document);
    return 0;
}
