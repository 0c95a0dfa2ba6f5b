/* What a command finds in the installation: paths, roots of trust, keys, running services. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

const char *const cli_services[] = {"signer", "audit", "graph", "memory", "policy"};

status_code cli_path(const cli *self, char out[CLI_PATH_BYTES], failure *why, const char *format, ...) {
    char path[CLI_PATH_BYTES];
    int used = snprintf(path, sizeof path, "%s/", self->data_dir);
    va_list arguments;
    va_start(arguments, format);
    int more = used < 0 || (size_t)used >= sizeof path
                   ? -1
                   : vsnprintf(path + used, sizeof path - (size_t)used, format, arguments);
    va_end(arguments);
    if (more < 0 || (size_t)used + (size_t)more >= sizeof path)
        return fail(why, STATUS_INVALID_ARGUMENT, "PATH_TOO_LONG", "the data folder's path is too long");
    memcpy(out, path, sizeof path);
    return STATUS_OK;
}

status_code cli_roots(cli *self, const trust **out, failure *why) {
    char path[CLI_PATH_BYTES];
    if (self->roots == NULL) {
        status_code code = cli_path(self, path, why, "installation.yaml");
        if (code != STATUS_OK)
            return code;
        if (access(path, F_OK) != 0)
            return fail(
                why, STATUS_NOT_FOUND, "NO_INSTALLATION",
                "there is no installation in %.300s; make one with interlock init, or name another with "
                "--data-dir",
                self->data_dir);
        code = trust_load(path, &self->roots, why);
        if (code != STATUS_OK)
            return code;
    }
    *out = self->roots;
    return STATUS_OK;
}

status_code cli_running_read(const char *data_dir, const char *service, cli_running *out, failure *why) {
    char path[CLI_PATH_BYTES + 64];
    json_error_t error;
    snprintf(path, sizeof path, "%s/run/%s.json", data_dir, service);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        return fail(why, STATUS_UNAVAILABLE, "NOT_RUNNING",
                    "%s does not run on %.300s; start the services with interlock dev", service, data_dir);
    cli_running found = {.pid = (long)json_integer_value(json_object_get(root, "pid")),
                         .tcp_port = (int)json_integer_value(json_object_get(root, "tcp_port")),
                         .http_port = (int)json_integer_value(json_object_get(root, "http_port"))};
    const char *socket_path = json_string_value(json_object_get(root, "unix"));
    snprintf(found.unix_path, sizeof found.unix_path, "%s", socket_path != NULL ? socket_path : "");
    json_decref(root);
    if (found.unix_path[0] == '\0')
        return fail(why, STATUS_FAILED_PRECONDITION, "RUN_FILE", "%.300s names no socket", path);
    *out = found;
    return STATUS_OK;
}

status_code cli_channel(cli *self, const char *service, rpc_role role, rpc_channel **out, failure *why) {
    const trust *roots = NULL;
    cli_running running;
    char target[CLI_PATH_BYTES + 8];
    status_code code = cli_roots(self, &roots, why);
    if (code == STATUS_OK)
        code = cli_running_read(self->data_dir, service, &running, why);
    if (code != STATUS_OK)
        return code;
    snprintf(target, sizeof target, "unix:%s", running.unix_path);
    rpc_channel_options options = {.target = target, .role = role};
    return rpc_channel_open(out, &options, why);
}

status_code cli_key(cli *self, const char *name, key_purpose purpose, secret_key **out, failure *why) {
    char path[CLI_PATH_BYTES];
    status_code code = cli_path(self, path, why, "keys/%s.key", name);
    if (code != STATUS_OK)
        return code;
    if (access(path, F_OK) != 0)
        return fail(why, STATUS_NOT_FOUND, "KEY_MISSING", "there is no key %.300s", path);
    return secret_key_load(path, purpose, out, why);
}

status_code cli_operator(cli *self, secret_key **key, const char **principal, failure *why) {
    const trust *roots = NULL;
    secret_key *loaded = NULL;
    status_code code = cli_roots(self, &roots, why);
    if (code == STATUS_OK)
        code = cli_key(self, "operator", KEY_OPERATOR, &loaded, why);
    if (code != STATUS_OK)
        return code;
    const trust_key *known = trust_find_keyid(roots, KEY_OPERATOR, secret_key_public(loaded)->keyid);
    if (known == NULL) {
        secret_key_free(loaded);
        return fail(why, STATUS_FAILED_PRECONDITION, "KEY_NOT_TRUSTED",
                    "keys/operator.key is not an operator's key of installation.yaml");
    }
    *key = loaded;
    *principal = known->principal;
    return STATUS_OK;
}

static status_code read_all(cli *self, FILE *file, const char *path, size_t limit, bytes *out, failure *why) {
    buffer text;
    char piece[65536];
    size_t got = 0;
    buffer_init(&text, limit);
    while ((got = fread(piece, 1, sizeof piece, file)) > 0)
        buffer_append(&text, piece, got);
    status_code code = STATUS_OK;
    if (ferror(file) != 0)
        code =
            fail(why, STATUS_UNAVAILABLE, "FILE_UNREADABLE", "cannot read %.300s: %s", path, strerror(errno));
    else if (!buffer_ok(&text))
        code = fail(why, STATUS_INVALID_ARGUMENT, "FILE_TOO_LARGE", "%.300s is larger than %zu bytes", path,
                    limit);
    uint8_t *copy = code == STATUS_OK
                        ? arena_copy(&self->memory, text.data != NULL ? text.data : "", text.size + 1)
                        : NULL;
    if (code == STATUS_OK && copy == NULL)
        code = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for %.300s", path);
    if (code == STATUS_OK)
        *out = bytes_of(copy, text.size);
    buffer_free(&text);
    return code;
}

status_code cli_read_file(cli *self, const char *path, size_t limit, bytes *out, failure *why) {
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "re");
    if (file == NULL)
        return fail(why, STATUS_NOT_FOUND, "FILE_UNREADABLE", "cannot open %.300s: %s", path,
                    strerror(errno));
    status_code code = read_all(self, file, path, limit, out, why);
    if (!standard)
        fclose(file);
    return code;
}

status_code cli_write_file(const char *path, bytes data, failure *why) {
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t done = 0;
    while (descriptor >= 0 && done < data.size) {
        ssize_t written = write(descriptor, data.data + done, data.size - done);
        if (written <= 0)
            break;
        done += (size_t)written;
    }
    bool whole = descriptor >= 0 && done == data.size && fsync(descriptor) == 0;
    int problem = errno;
    if (descriptor >= 0)
        close(descriptor);
    if (!whole)
        return fail(why, STATUS_FAILED_PRECONDITION, "FILE_UNWRITABLE", "cannot write %.300s: %s", path,
                    strerror(problem));
    return STATUS_OK;
}

void cli_pause_ms(unsigned duration_ms) {
    struct timespec pause = {.tv_nsec = (long)duration_ms * 1000000L};
    nanosleep(&pause, NULL);
}

bool cli_is_terminal(FILE *file) {
    return isatty(fileno(file)) == 1;
}
