/* installation.yaml as hostile text. */
#include "trust_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t nothing[1];
    bytes text = bytes_of(size == 0 ? nothing : data, size);
    trust_file *file = NULL;
    failure why = {0};
    if (size >= TRUST_FILE_BYTES)
        return 0;
    if (trust_file_parse(text, "fuzz", &file, &why) == STATUS_OK) {
        (void)trust_file_refuse(text, "fuzz", 0, "public_key", &why, "x");
        (void)trust_file_refuse(text, "fuzz", -1, "origin", &why, "x");
    }
    trust_file_free(file);
    return 0;
}
