/* The configuration file's reader against any bytes: it refuses or reads, and never more than its table. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/settings.h"

static const option table[] = {
    {.name = "data-dir", .kind = OPTION_TEXT, .help = ""},
    {.name = "loops", .kind = OPTION_NUMBER, .help = "", .least = 1, .most = 64},
    {.name = "verbose", .kind = OPTION_FLAG, .help = ""},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    int descriptor = memfd_create("settings", MFD_CLOEXEC);
    if (descriptor < 0 || write(descriptor, data, size) != (ssize_t)size)
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    settings *values = NULL;
    failure why = {0};
    if (settings_parse(&values, table, 3, path, 0, NULL, NULL, &why) == STATUS_OK)
        (void)settings_text(values, "data-dir");
    settings_free(values);
    close(descriptor);
    return 0;
}
