/* Reads the three files of an mTLS identity. */
#include "pem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static status_code read_file(buffer *out, const char *path, const char *what, failure *why) {
    buffer_init(out, PEM_BYTES_MAX);
    if (path == NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "TLS_FILE_MISSING",
                    "TCP is always mTLS, and the path of the %s is not set; set it or use a unix socket",
                    what);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return fail(why, STATUS_NOT_FOUND, "TLS_FILE_UNREADABLE", "cannot read the %s %s: %s", what, path,
                    strerror(errno));
    char chunk[4096];
    size_t size;
    while ((size = fread(chunk, 1, sizeof chunk, file)) > 0 && buffer_ok(out))
        buffer_append(out, chunk, size);
    bool ok = !ferror(file) && buffer_ok(out) && out->size > 0;
    explicit_bzero(chunk, sizeof chunk);
    fclose(file);
    if (!ok)
        return fail(why, STATUS_INVALID_ARGUMENT, "TLS_FILE_UNREADABLE",
                    "the %s %s is empty, larger than %u bytes, or unreadable", what, path, PEM_BYTES_MAX);
    return STATUS_OK;
}

status_code pem_read(pem_set *out, const char *certificate_path, const char *key_path,
                     const char *authority_path, failure *why) {
    pem_set set = {0};
    status_code code = read_file(&set.certificate, certificate_path, "certificate", why);
    if (code == STATUS_OK)
        code = read_file(&set.key, key_path, "private key", why);
    if (code == STATUS_OK)
        code = read_file(&set.authority, authority_path, "certificate authority", why);
    if (code != STATUS_OK) {
        pem_free(&set);
        return code;
    }
    *out = set;
    return STATUS_OK;
}

void pem_free(pem_set *self) {
    if (self->key.data != NULL)
        explicit_bzero(self->key.data, self->key.capacity);
    buffer_free(&self->certificate);
    buffer_free(&self->key);
    buffer_free(&self->authority);
}
