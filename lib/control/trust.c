/* The root of trust of an installation: loading, checking and writing installation.yaml. Everything that is
 * signed is believed because of a key in this file, so nothing in it is taken leniently. */
#include "control/trust.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trust_file.h"

/* ---- Names ---- */

static bool char_is_plain(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Also the SPIFFE trust domain: a-z 0-9 - . and nothing else; it begins and ends with a letter or digit. */
static bool installation_valid(const char *name) {
    size_t size = strlen(name);
    if (size == 0 || size >= sizeof((trust *)NULL)->installation || !char_is_plain(name[0]) ||
        !char_is_plain(name[size - 1]))
        return false;
    for (size_t i = 0; i < size; i++)
        if (!char_is_plain(name[i]) && name[i] != '-' && name[i] != '.')
            return false;
    return true;
}

/* The name of a key in a signed note too: no white space and no plus sign (c2sp.org/signed-note). */
static bool origin_valid(const char *origin) {
    size_t size = strlen(origin);
    if (size == 0 || size >= sizeof((trust *)NULL)->origin)
        return false;
    for (size_t i = 0; i < size; i++)
        if (!char_is_plain(origin[i]) && strchr("-._~/:", origin[i]) == NULL)
            return false;
    return true;
}

/* "<role>/<name>". */
static bool principal_valid(const char *principal, const char *role) {
    size_t size = strlen(principal), prefix = strlen(role);
    if (size >= sizeof((trust_key *)NULL)->principal || size < prefix + 2 ||
        memcmp(principal, role, prefix) != 0 || principal[prefix] != '/')
        return false;
    for (const char *c = principal + prefix + 1; *c != '\0'; c++)
        if (!isascii(*c) || (!isalnum((unsigned char)*c) && strchr("-._@", *c) == NULL))
            return false;
    return true;
}

/* Whose key a purpose is; NULL when keys of that purpose have no place in the file. Agents, executors and
 * approvers are enrolled by an operator's statement instead, so that they can be revoked without touching
 * every machine. */
static const char *role_of_purpose(key_purpose purpose) {
    switch (purpose) {
    case KEY_OPERATOR:
        return "operator";
    case KEY_RECORD:
    case KEY_PERMIT:
    case KEY_CHECKPOINT:
        return "service";
    case KEY_AGENT:
    case KEY_EXECUTOR:
    case KEY_APPROVER:
        break;
    }
    return NULL;
}

/* ---- Loading ---- */

static status_code read_whole(const char *path, char *out, size_t room, size_t *size, failure *why) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return fail(why, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_FAILED_PRECONDITION, "TRUST_UNREADABLE",
                    "%s: %s; `interlock init` makes an installation", path, strerror(errno));
    size_t used = 0;
    ssize_t got = 0;
    while (used < room &&
           ((got = read(descriptor, out + used, room - used)) > 0 || (got < 0 && errno == EINTR)))
        used += got > 0 ? (size_t)got : 0;
    int cause = errno;
    close(descriptor);
    if (got < 0)
        return fail(why, STATUS_FAILED_PRECONDITION, "TRUST_UNREADABLE", "%s: %s", path, strerror(cause));
    if (used == room)
        return fail(why, STATUS_INVALID_ARGUMENT, "TRUST_INVALID",
                    "%s: larger than %u bytes; this is no trust file", path, TRUST_FILE_BYTES);
    *size = used;
    return STATUS_OK;
}

static status_code take_public_key(bytes text, const char *path, int entry, const char *encoded,
                                   public_key *out, failure *why) {
    uint8_t raw[CRYPTO_PUBLIC_KEY_BYTES];
    size_t size = sizeof raw;
    if (!base64_decode(bytes_of_text(encoded), raw, &size) || size != sizeof raw)
        return trust_file_refuse(text, path, entry, "public_key", why,
                                 "an Ed25519 public key is 32 bytes in base64, 44 characters");
    public_key_from_bytes(out, raw);
    return STATUS_OK;
}

/* One key, one purpose (PROTOCOL §5): the same key may not stand here twice, not even for the same purpose.
 */
static status_code check_key_unique(const trust *self, bytes text, const char *path, int entry,
                                    const public_key *key, failure *why) {
    for (size_t i = 0; i < self->count; i++)
        if (memcmp(self->keys[i].key.bytes, key->bytes, sizeof key->bytes) == 0)
            return trust_file_refuse(text, path, entry, "public_key", why,
                                     "the same key stands in entry %zu; a key has one holder and one purpose",
                                     i + 1);
    return STATUS_OK;
}

static status_code take_key(trust *self, bytes text, const char *path, int entry, const trust_file_key *in,
                            failure *why) {
    trust_key key = {0};
    if (!key_purpose_parse(in->purpose, &key.purpose) || role_of_purpose(key.purpose) == NULL)
        return trust_file_refuse(
            text, path, entry, "purpose", why,
            "one of operator, record, permit, checkpoint; other keys are enrolled, not rooted");
    const char *role = role_of_purpose(key.purpose);
    if (!principal_valid(in->principal, role))
        return trust_file_refuse(text, path, entry, "principal", why,
                                 "the holder of a key for %s is \"%s/NAME\", NAME of A-Z a-z 0-9 - . _ @",
                                 in->purpose, role);
    memcpy(key.principal, in->principal, strlen(in->principal) + 1);
    status_code code = take_public_key(text, path, entry, in->public_key, &key.key, why);
    if (code == STATUS_OK)
        code = check_key_unique(self, text, path, entry, &key.key, why);
    if (code == STATUS_OK)
        self->keys[self->count++] = key;
    return code;
}

static status_code take_file(trust *self, bytes text, const char *path, const trust_file *in, failure *why) {
    if (!installation_valid(in->installation))
        return trust_file_refuse(text, path, -1, "installation", why,
                                 "1 to 63 of a-z 0-9 - . beginning and ending with a letter or digit");
    if (!origin_valid(in->origin))
        return trust_file_refuse(text, path, -1, "origin", why, "1 to 127 of a-z 0-9 - . _ ~ / :");
    memcpy(self->installation, in->installation, strlen(in->installation) + 1);
    memcpy(self->origin, in->origin, strlen(in->origin) + 1);
    for (unsigned i = 0; i < in->keys_count; i++) {
        status_code code = take_key(self, text, path, (int)i, &in->keys[i], why);
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

static status_code trust_from_text(bytes text, const char *path, trust **out, failure *why) {
    trust_file *file = NULL;
    status_code code = trust_file_parse(text, path, &file, why);
    if (code != STATUS_OK)
        return code;
    trust *self = calloc(1, sizeof *self);
    code = self == NULL
               ? fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "%s: no memory for reading it", path)
               : take_file(self, text, path, file, why);
    trust_file_free(file);
    if (code != STATUS_OK) {
        free(self);
        return code;
    }
    *out = self;
    return STATUS_OK;
}

status_code trust_load(const char *path, trust **out, failure *why) {
    char *text = malloc(TRUST_FILE_BYTES);
    if (text == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "%s: no memory for reading it", path);
    size_t size = 0;
    status_code code = read_whole(path, text, TRUST_FILE_BYTES, &size, why);
    if (code == STATUS_OK)
        code = trust_from_text(bytes_of(text, size), path, out, why);
    free(text);
    return code;
}

void trust_free(trust *self) {
    free(self);
}

/* ---- Writing ---- */

static void write_yaml(const trust *self, buffer *out) {
    buffer_text(
        out,
        "# The root of trust of this installation, the same on every machine of it. Who can write here owns\n"
        "# it: keep it root's. Public keys only.\n");
    buffer_format(out, "installation: \"%s\"\norigin: \"%s\"\nkeys:\n", self->installation, self->origin);
    for (size_t i = 0; i < self->count; i++) {
        const trust_key *key = &self->keys[i];
        buffer_format(out, "  - principal: \"%s\"\n    purpose: %s\n    public_key: \"", key->principal,
                      key_purpose_name(key->purpose));
        base64_encode(bytes_of(key->key.bytes, sizeof key->key.bytes), out);
        buffer_text(out, "\"\n");
    }
}

static status_code sync_directory(const char *path, failure *why) {
    char copy[4096];
    if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy)
        return fail(why, STATUS_INVALID_ARGUMENT, "PATH_TOO_LONG", "the path of the trust file is too long");
    int descriptor = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = descriptor >= 0 && fsync(descriptor) == 0;
    int cause = errno;
    if (descriptor >= 0)
        close(descriptor);
    return synced ? STATUS_OK
                  : fail(why, STATUS_UNAVAILABLE, "TRUST_UNWRITABLE", "the folder of %s: %s", path,
                         strerror(cause));
}

static bool write_all(int descriptor, bytes text) {
    for (size_t done = 0; done < text.size;) {
        ssize_t wrote = write(descriptor, text.data + done, text.size - done);
        if (wrote < 0 && errno != EINTR)
            return false;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return true;
}

static status_code write_file(const char *path, bytes text, failure *why) {
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (descriptor < 0)
        return fail(why, errno == EEXIST ? STATUS_ALREADY_EXISTS : STATUS_UNAVAILABLE, "TRUST_UNWRITABLE",
                    "%s: %s", path, strerror(errno));
    bool written = write_all(descriptor, text) && fsync(descriptor) == 0;
    int cause = errno;
    if (close(descriptor) != 0 && written) {
        written = false;
        cause = errno;
    }
    if (written)
        return sync_directory(path, why);
    unlink(path);
    return fail(why, STATUS_UNAVAILABLE, "TRUST_UNWRITABLE", "%s: %s", path, strerror(cause));
}

/* What was written must be readable: the text is parsed back before it goes to the disk. */
status_code trust_save(const trust *self, const char *path, failure *why) {
    buffer text;
    trust *again = NULL;
    buffer_init(&text, TRUST_FILE_BYTES - 1);
    write_yaml(self, &text);
    status_code code = buffer_ok(&text) ? trust_from_text(buffer_bytes(&text), path, &again, why)
                                        : fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY",
                                               "%s: no memory for writing it", path);
    trust_free(again);
    if (code == STATUS_OK)
        code = write_file(path, buffer_bytes(&text), why);
    buffer_free(&text);
    return code;
}

/* ---- Finding ---- */

const trust_key *trust_find(const trust *self, key_purpose purpose, const char *principal) {
    for (size_t i = 0; i < self->count; i++)
        if (self->keys[i].purpose == purpose &&
            (principal == NULL || strcmp(self->keys[i].principal, principal) == 0))
            return &self->keys[i];
    return NULL;
}

const trust_key *trust_find_keyid(const trust *self, key_purpose purpose, const char *keyid) {
    for (size_t i = 0; i < self->count; i++)
        if (self->keys[i].purpose == purpose && strcmp(self->keys[i].key.keyid, keyid) == 0)
            return &self->keys[i];
    return NULL;
}
