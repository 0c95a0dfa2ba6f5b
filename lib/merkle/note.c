/* Checkpoints as C2SP signed notes: writing them, and reading what may come from anybody. */
#include "merkle/note.h"

#include <string.h>

#define KEY_HASH_BYTES 4U
#define ALGORITHM_ED25519 1U
#define OWN_SIGNATURE_BYTES (KEY_HASH_BYTES + CRYPTO_SIGNATURE_BYTES)
#define DASH "\xe2\x80\x94 " /* an em dash and a space open each signature line */

/* SHA-256(name || "\n" || algorithm || public key), of which the first four bytes name the key. */
static void key_hash(const char *name, const public_key *key, uint8_t out[KEY_HASH_BYTES]) {
    uint8_t tail[2 + CRYPTO_PUBLIC_KEY_BYTES] = {'\n', ALGORITHM_ED25519};
    uint8_t digest[CRYPTO_HASH_BYTES];
    memcpy(tail + 2, key->bytes, CRYPTO_PUBLIC_KEY_BYTES);
    sha256_two(bytes_of_text(name), bytes_of(tail, sizeof tail), digest);
    memcpy(out, digest, KEY_HASH_BYTES);
}

/* A key name of the signed-note format, kept to printable ASCII: no space, no plus. */
static bool name_valid(const char *name, size_t size) {
    if (size == 0 || size >= sizeof((checkpoint *)NULL)->origin)
        return false;
    for (size_t i = 0; i < size; i++)
        if (name[i] <= ' ' || name[i] >= 0x7f || name[i] == '+')
            return false;
    return true;
}

status_code checkpoint_sign(const checkpoint *self, const secret_key *key, buffer *note, failure *why) {
    if (!name_valid(self->origin, strnlen(self->origin, sizeof self->origin)))
        return fail(why, STATUS_INVALID_ARGUMENT, "NOTE_ORIGIN",
                    "the log's name must be 1 to %zu printable characters without space and plus",
                    sizeof self->origin - 1);
    buffer text;
    buffer_init(&text, NOTE_MAX_BYTES);
    buffer_format(&text, "%s\n%llu\n", self->origin, (unsigned long long)self->size);
    base64_encode(bytes_of(self->root.bytes, MERKLE_HASH_BYTES), &text);
    buffer_text(&text, "\n");

    uint8_t own[OWN_SIGNATURE_BYTES];
    key_hash(self->origin, secret_key_public(key), own);
    if (buffer_ok(&text)) {
        key_sign(key, buffer_bytes(&text), own + KEY_HASH_BYTES);
        buffer_format(&text, "\n" DASH "%s ", self->origin);
        base64_encode(bytes_of(own, sizeof own), &text);
        buffer_text(&text, "\n");
    }
    if (buffer_ok(&text))
        buffer_append(note, text.data, text.size);
    bool written = buffer_ok(&text) && buffer_ok(note);
    buffer_free(&text);
    return written ? STATUS_OK
                   : fail(why, STATUS_RESOURCE_EXHAUSTED, "NOTE_MEMORY",
                          "there is no room for the checkpoint's note");
}

void note_verifier_key(const char *origin, const public_key *key, buffer *out) {
    uint8_t hash[KEY_HASH_BYTES];
    char hash_text[2 * KEY_HASH_BYTES + 1];
    uint8_t encoded[1 + CRYPTO_PUBLIC_KEY_BYTES] = {ALGORITHM_ED25519};
    key_hash(origin, key, hash);
    hex_encode(bytes_of(hash, sizeof hash), hash_text);
    memcpy(encoded + 1, key->bytes, CRYPTO_PUBLIC_KEY_BYTES);
    buffer_format(out, "%s+%s+", origin, hash_text);
    base64_encode(bytes_of(encoded, sizeof encoded), out);
}

/* ---- reading ----------------------------------------------------------------------------------------- */

static status_code malformed(failure *why, const char *what) {
    return fail(why, STATUS_INVALID_ARGUMENT, "NOTE_MALFORMED", "this is not a checkpoint: %s", what);
}

/* Takes the next line off the text, without its end; false when there is none. */
static bool next_line(bytes *text, bytes *line) {
    const uint8_t *end = text->size == 0 ? NULL : memchr(text->data, '\n', text->size);
    if (end == NULL)
        return false;
    *line = bytes_of(text->data, (size_t)(end - text->data));
    *text = bytes_of(end + 1, text->size - line->size - 1);
    return true;
}

/* Decimal without sign and leading zeros. */
static bool parse_size(bytes line, uint64_t *out) {
    if (line.size == 0 || (line.data[0] == '0' && line.size > 1))
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < line.size; i++) {
        if (line.data[i] < '0' || line.data[i] > '9' || __builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, (uint64_t)(line.data[i] - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

/* The signed text: origin, size, root, and further lines that are not empty, which a reader ignores. */
static status_code parse_text(bytes text, checkpoint *out, failure *why) {
    bytes line;
    if (!next_line(&text, &line) || !name_valid((const char *)line.data, line.size))
        return malformed(why, "its first line is not the name of a log");
    memcpy(out->origin, line.data, line.size);
    out->origin[line.size] = '\0';
    if (!next_line(&text, &line) || !parse_size(line, &out->size))
        return malformed(why, "its second line is not a tree size");
    size_t room = MERKLE_HASH_BYTES;
    if (!next_line(&text, &line) || !base64_decode(line, out->root.bytes, &room) || room != MERKLE_HASH_BYTES)
        return malformed(why, "its third line is not a root hash in base64");
    while (text.size > 0)
        if (!next_line(&text, &line) || line.size == 0)
            return malformed(why, "there is an empty line in its text");
    return STATUS_OK;
}

/* "— name base64": the name and the decoded signature, which begins with its key's hash. */
static bool parse_signature(bytes line, bytes *name, uint8_t *raw, size_t *size) {
    size_t dash = strlen(DASH);
    if (line.size <= dash || memcmp(line.data, DASH, dash) != 0)
        return false;
    bytes rest = bytes_of(line.data + dash, line.size - dash);
    const uint8_t *space = memchr(rest.data, ' ', rest.size);
    if (space == NULL || space == rest.data)
        return false;
    *name = bytes_of(rest.data, (size_t)(space - rest.data));
    bytes encoded = bytes_of(space + 1, rest.size - name->size - 1);
    return memchr(name->data, '+', name->size) == NULL && base64_decode(encoded, raw, size) &&
           *size > KEY_HASH_BYTES;
}

/* Goes through the signature lines and copies the log's own. */
static status_code find_signature(bytes lines, const char *origin, const public_key *key,
                                  uint8_t own[CRYPTO_SIGNATURE_BYTES], failure *why) {
    uint8_t wanted[KEY_HASH_BYTES];
    key_hash(origin, key, wanted);
    unsigned found = 0;
    while (lines.size > 0) {
        bytes line;
        bytes name;
        uint8_t raw[NOTE_MAX_BYTES];
        size_t size = sizeof raw;
        if (!next_line(&lines, &line) || !parse_signature(line, &name, raw, &size))
            return malformed(why, "a signature line has not the form \"\u2014 name base64\"");
        if (!bytes_equal(name, bytes_of_text(origin)) || memcmp(raw, wanted, sizeof wanted) != 0)
            continue;
        if (size != OWN_SIGNATURE_BYTES)
            return malformed(why, "the log's signature has not the length of an Ed25519 signature");
        memcpy(own, raw + KEY_HASH_BYTES, CRYPTO_SIGNATURE_BYTES);
        found++;
    }
    if (found == 1)
        return STATUS_OK;
    return fail(why, STATUS_UNAUTHENTICATED, "NOTE_SIGNATURE",
                "the note has %u signatures of the log %.100s with the key %s; exactly one is needed", found,
                origin, key->keyid);
}

/* Where the signed text ends: after the newline before the last empty line. 0 when there is none. */
static size_t text_end(bytes note) {
    for (size_t i = note.size; i > 1; i--)
        if (note.data[i - 1] == '\n' && note.data[i - 2] == '\n')
            return i - 1;
    return 0;
}

static bool printable(bytes note) {
    for (size_t i = 0; i < note.size; i++)
        if ((note.data[i] < ' ' && note.data[i] != '\n') || note.data[i] == 0x7f)
            return false;
    return utf8_valid(note);
}

status_code checkpoint_verify(bytes note, const char *origin, const public_key *key, checkpoint *out,
                              failure *why) {
    if (note.size > NOTE_MAX_BYTES || !printable(note))
        return malformed(why, "it is too long, or not plain text");
    size_t end = text_end(note);
    if (end == 0)
        return malformed(why, "there is no empty line before its signatures");
    bytes text = bytes_of(note.data, end);
    checkpoint read;
    memset(&read, 0, sizeof read);
    status_code code = parse_text(text, &read, why);
    if (code != STATUS_OK)
        return code;
    if (strcmp(read.origin, origin) != 0)
        return fail(why, STATUS_UNAUTHENTICATED, "NOTE_ORIGIN",
                    "the checkpoint is of the log %.120s, not of %.120s", read.origin, origin);
    uint8_t own[CRYPTO_SIGNATURE_BYTES];
    code = find_signature(bytes_of(note.data + end + 1, note.size - end - 1), origin, key, own, why);
    if (code != STATUS_OK)
        return code;
    if (!key_verify(key, text, own))
        return fail(
            why, STATUS_UNAUTHENTICATED, "NOTE_SIGNATURE",
            "the checkpoint's signature is not that of the key %s; it was altered or another key made it",
            key->keyid);
    *out = read;
    return STATUS_OK;
}
