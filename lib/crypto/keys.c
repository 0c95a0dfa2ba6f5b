/* Ed25519 keys: making, saving, loading, signing, verifying. A secret key lives in libsodium's guarded
 * memory, locked against swapping and surrounded by pages that fault. It stays readable: to protect and
 * unprotect it for each signature would cost two system calls beside an 18 µs signature and protect only
 * against reads that a process with a bug could then do in the window anyway. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/crypto.h"

#define FILE_WORD "interlock-secret-key-v1"
#define SEED_BASE64_CHARS 44U
#define FILE_BYTES_MAX 128U

struct secret_key {
    public_key shown;
    key_purpose purpose;
    uint8_t seed[crypto_sign_SEEDBYTES];
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
};

static const char *const purpose_names[] = {
    [KEY_AGENT] = "agent",          [KEY_EXECUTOR] = "executor", [KEY_APPROVER] = "approver",
    [KEY_OPERATOR] = "operator",    [KEY_RECORD] = "record",     [KEY_PERMIT] = "permit",
    [KEY_CHECKPOINT] = "checkpoint"};
#define PURPOSES (sizeof purpose_names / sizeof *purpose_names)

const char *key_purpose_name(key_purpose purpose) {
    return (unsigned)purpose < PURPOSES ? purpose_names[purpose] : "unknown";
}

bool key_purpose_parse(const char *name, key_purpose *out) {
    for (unsigned i = 0; i < PURPOSES; i++) {
        if (strcmp(name, purpose_names[i]) == 0) {
            *out = (key_purpose)i;
            return true;
        }
    }
    return false;
}

void public_key_from_bytes(public_key *out, const uint8_t raw[CRYPTO_PUBLIC_KEY_BYTES]) {
    uint8_t digest[CRYPTO_HASH_BYTES];
    memmove(out->bytes, raw, CRYPTO_PUBLIC_KEY_BYTES);
    sha256(bytes_of(out->bytes, CRYPTO_PUBLIC_KEY_BYTES), digest);
    hex_encode(bytes_of(digest, CRYPTO_KEYID_CHARS / 2), out->keyid);
}

static secret_key *from_seed(const uint8_t seed[crypto_sign_SEEDBYTES], key_purpose purpose) {
    secret_key *self = sodium_malloc(sizeof *self);
    if (self == NULL)
        return NULL;
    self->purpose = purpose;
    memcpy(self->seed, seed, sizeof self->seed);
    uint8_t raw[CRYPTO_PUBLIC_KEY_BYTES];
    crypto_sign_seed_keypair(raw, self->secret, self->seed);
    public_key_from_bytes(&self->shown, raw);
    return self;
}

static status_code no_guarded_memory(failure *why) {
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "KEY_MEMORY",
                "there is no locked memory for a secret key; raise the limit of locked memory (ulimit -l)");
}

status_code secret_key_generate(const chance *source, key_purpose purpose, secret_key **out, failure *why) {
    uint8_t seed[crypto_sign_SEEDBYTES];
    chance_random(source, seed, sizeof seed);
    secret_key *self = from_seed(seed, purpose);
    sodium_memzero(seed, sizeof seed);
    if (self == NULL)
        return no_guarded_memory(why);
    *out = self;
    return STATUS_OK;
}

void secret_key_free(secret_key *self) {
    sodium_free(self); /* wipes it */
}

const public_key *secret_key_public(const secret_key *self) {
    return &self->shown;
}

void key_sign(const secret_key *key, bytes message, uint8_t signature[CRYPTO_SIGNATURE_BYTES]) {
    crypto_sign_detached(signature, NULL, message.data, message.size, key->secret);
}

bool key_verify(const public_key *key, bytes message, const uint8_t signature[CRYPTO_SIGNATURE_BYTES]) {
    return crypto_sign_verify_detached(signature, message.data, message.size, key->bytes) == 0;
}

/* ---- files ------------------------------------------------------------------------------------------- */

static status_code file_failed(failure *why, const char *what, const char *path) {
    int error = errno;
    status_code code = error == ENOENT   ? STATUS_NOT_FOUND
                       : error == EEXIST ? STATUS_ALREADY_EXISTS
                                         : STATUS_UNAVAILABLE;
    return fail(why, code, "KEY_FILE", "cannot %s the key file %.300s: %s", what, path, strerror(error));
}

static bool write_all(int file, const char *text, size_t size) {
    while (size > 0) {
        ssize_t written = write(file, text, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        text += written;
        size -= (size_t)written;
    }
    return true;
}

/* A file is only surely there when its folder's entry is on disk too. */
static bool sync_folder_of(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t size = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (size >= sizeof folder)
        return false;
    memcpy(folder, path, size);
    folder[size] = '\0';
    int descriptor = open(size == 0 ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return false;
    bool synced = fsync(descriptor) == 0;
    close(descriptor);
    return synced;
}

status_code secret_key_save(const secret_key *self, const char *path, failure *why) {
    char encoded[SEED_BASE64_CHARS + 1];
    sodium_bin2base64(encoded, sizeof encoded, self->seed, sizeof self->seed, sodium_base64_VARIANT_ORIGINAL);
    char line[FILE_BYTES_MAX];
    int size = snprintf(line, sizeof line, FILE_WORD " %s %s\n", key_purpose_name(self->purpose), encoded);
    sodium_memzero(encoded, sizeof encoded);

    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    status_code code = file < 0 ? file_failed(why, "create", path) : STATUS_OK;
    if (file >= 0) {
        bool written = write_all(file, line, (size_t)size) && fsync(file) == 0;
        if (!written)
            code = file_failed(why, "write", path);
        close(file);
        if (written && !sync_folder_of(path))
            code = file_failed(why, "sync the folder of", path);
        if (code != STATUS_OK)
            unlink(path);
    }
    sodium_memzero(line, sizeof line);
    return code;
}

static status_code malformed(failure *why, const char *path) {
    return fail(why, STATUS_INVALID_ARGUMENT, "KEY_FILE",
                "%.300s is not a secret key file (\"" FILE_WORD " <purpose> <seed>\"); make one with "
                "`interlock key generate`",
                path);
}

/* Reads the whole file, after looking at who else can. */
static status_code read_private(const char *path, char line[FILE_BYTES_MAX], size_t *size, failure *why) {
    int file = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0)
        return file_failed(why, "open", path);
    struct stat facts;
    status_code code = STATUS_OK;
    ssize_t got = 0;
    if (fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode))
        code = malformed(why, path);
    else if ((facts.st_mode & 077) != 0)
        code = fail(why, STATUS_PERMISSION_DENIED, "KEY_FILE_EXPOSED",
                    "others can read the key file %.300s (mode %03o); chmod 600 it, and replace the key if "
                    "it was seen",
                    path, (unsigned)(facts.st_mode & 0777));
    else if ((got = read(file, line, FILE_BYTES_MAX)) < 0)
        code = file_failed(why, "read", path);
    close(file);
    *size = got < 0 ? 0 : (size_t)got;
    return code;
}

/* "<word> <purpose> <base64>\n" and nothing more. */
static bool parse_line(char *line, size_t size, key_purpose *purpose, uint8_t seed[crypto_sign_SEEDBYTES]) {
    if (size < 2 || size >= FILE_BYTES_MAX || line[size - 1] != '\n' || memchr(line, 0, size) != NULL)
        return false;
    line[size - 1] = '\0';
    size_t word = strlen(FILE_WORD);
    if (strncmp(line, FILE_WORD " ", word + 1) != 0)
        return false;
    char *name = line + word + 1;
    char *space = strchr(name, ' ');
    if (space == NULL)
        return false;
    *space = '\0';
    size_t room = crypto_sign_SEEDBYTES;
    return key_purpose_parse(name, purpose) && base64_decode(bytes_of_text(space + 1), seed, &room) &&
           room == crypto_sign_SEEDBYTES;
}

static status_code load_line(char *line, size_t size, const char *path, key_purpose wanted, secret_key **out,
                             failure *why) {
    uint8_t seed[crypto_sign_SEEDBYTES];
    key_purpose purpose;
    status_code code = STATUS_OK;
    secret_key *self = NULL;
    if (!parse_line(line, size, &purpose, seed))
        code = malformed(why, path);
    else if (purpose != wanted)
        code = fail(
            why, STATUS_FAILED_PRECONDITION, "KEY_PURPOSE",
            "%.300s holds a key for the purpose %s, but one for %s is needed here; a key serves one purpose",
            path, key_purpose_name(purpose), key_purpose_name(wanted));
    else if ((self = from_seed(seed, purpose)) == NULL)
        code = no_guarded_memory(why);
    sodium_memzero(seed, sizeof seed);
    if (code == STATUS_OK)
        *out = self;
    return code;
}

status_code secret_key_load(const char *path, key_purpose purpose, secret_key **out, failure *why) {
    char line[FILE_BYTES_MAX];
    size_t size = 0;
    status_code code = read_private(path, line, &size, why);
    if (code == STATUS_OK)
        code = load_line(line, size, path, purpose, out, why);
    sodium_memzero(line, sizeof line);
    return code;
}
