/* The development authority: OpenSSL's X.509, ECDSA P-256, files written by create-exclusive. */
#include "crypto/x509.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DAY_S 86400L
#define AUTHORITY_DAYS 3650L
#define LEAF_DAYS 365L
#define BACKDATE_S 300L /* for a neighbour whose clock is a little behind */
#define PATH_BYTES 4096U
#define SPIFFE_BYTES_MAX 2048U /* the SPIFFE standard's own bound */

typedef struct key_pair {
    X509 *certificate;
    EVP_PKEY *key;
} key_pair;

static void key_pair_free(key_pair *self) {
    X509_free(self->certificate);
    EVP_PKEY_free(self->key);
}

static status_code library_failed(failure *why, const char *what) {
    return fail(why, STATUS_INTERNAL, "X509", "OpenSSL could not %s", what);
}

/* ---- files ------------------------------------------------------------------------------------------- */

static status_code path_make(char out[PATH_BYTES], const char *directory, const char *name,
                             const char *suffix, failure *why) {
    int size = snprintf(out, PATH_BYTES, "%s/%s%s", directory, name, suffix);
    if (size < 0 || (size_t)size >= PATH_BYTES)
        return fail(why, STATUS_INVALID_ARGUMENT, "X509_FILE", "the folder's name is too long");
    return STATUS_OK;
}

/* A new file, or a failure that names it. */
static status_code file_create(const char *path, mode_t mode, FILE **out, failure *why) {
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "w");
    if (file == NULL) {
        int error = errno;
        if (descriptor >= 0)
            close(descriptor);
        return fail(why, error == EEXIST ? STATUS_ALREADY_EXISTS : STATUS_UNAVAILABLE, "X509_FILE",
                    "cannot create %.300s: %s", path, strerror(error));
    }
    *out = file;
    return STATUS_OK;
}

static status_code file_close(FILE *file, bool written, const char *path, failure *why) {
    written = written && fflush(file) == 0 && fsync(fileno(file)) == 0;
    int error = errno;
    if (fclose(file) == 0 && written)
        return STATUS_OK;
    unlink(path);
    return fail(why, STATUS_UNAVAILABLE, "X509_FILE", "cannot write %.300s: %s", path, strerror(error));
}

static status_code write_key(EVP_PKEY *key, const char *path, failure *why) {
    FILE *file = NULL;
    status_code code = file_create(path, 0600, &file, why);
    if (code != STATUS_OK)
        return code;
    bool written = PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1;
    return file_close(file, written, path, why);
}

static status_code write_certificate(X509 *certificate, const char *path, failure *why) {
    FILE *file = NULL;
    status_code code = file_create(path, 0644, &file, why);
    if (code != STATUS_OK)
        return code;
    return file_close(file, PEM_write_X509(file, certificate) == 1, path, why);
}

/* The key first: a certificate without its key is of no use to anybody. */
static status_code write_pair(const key_pair *pair, const char *directory, const char *name, failure *why) {
    char key_path[PATH_BYTES];
    char certificate_path[PATH_BYTES];
    status_code code = path_make(key_path, directory, name, ".key", why);
    if (code == STATUS_OK)
        code = path_make(certificate_path, directory, name, ".pem", why);
    if (code == STATUS_OK)
        code = write_key(pair->key, key_path, why);
    if (code != STATUS_OK)
        return code;
    code = write_certificate(pair->certificate, certificate_path, why);
    if (code != STATUS_OK)
        unlink(key_path);
    return code;
}

static status_code read_authority(const char *directory, key_pair *out, failure *why) {
    char path[PATH_BYTES];
    key_pair read = {0};
    status_code code = path_make(path, directory, "ca", ".key", why);
    if (code != STATUS_OK)
        return code;
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        read.key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
        fclose(file);
    }
    code = path_make(path, directory, "ca", ".pem", why);
    file = code == STATUS_OK ? fopen(path, "re") : NULL;
    if (file != NULL) {
        read.certificate = PEM_read_X509(file, NULL, NULL, NULL);
        fclose(file);
    }
    if (read.key == NULL || read.certificate == NULL ||
        X509_check_private_key(read.certificate, read.key) != 1) {
        key_pair_free(&read);
        return fail(why, STATUS_FAILED_PRECONDITION, "X509_AUTHORITY",
                    "%.300s holds no authority (ca.pem and ca.key); make one with `interlock init`",
                    directory);
    }
    *out = read;
    return STATUS_OK;
}

/* ---- certificates ------------------------------------------------------------------------------------ */

static bool add_extension(X509 *certificate, X509 *issuer, int kind, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    bool added = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

/* 127 random bits: positive, and unique without a register. */
static bool set_serial(X509 *certificate) {
    uint8_t raw[16];
    if (RAND_bytes(raw, sizeof raw) != 1)
        return false;
    raw[0] &= 0x7f;
    BIGNUM *number = BN_bin2bn(raw, sizeof raw, NULL);
    bool set = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return set;
}

static bool set_times(X509 *certificate, long days) {
    return X509_gmtime_adj(X509_getm_notBefore(certificate), -BACKDATE_S) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(certificate), days * DAY_S) != NULL;
}

static bool set_subject(X509 *certificate, const char *common_name) {
    X509_NAME *name = X509_get_subject_name(certificate);
    return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                                      (const unsigned char *)"Interlock development", -1, -1, 0) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1,
                                      0) == 1;
}

/* A key, and a certificate for it that has no extension and no signature yet. */
static bool pair_begin(key_pair *out, const char *common_name, long days) {
    out->key = EVP_EC_gen("P-256");
    out->certificate = X509_new();
    return out->key != NULL && out->certificate != NULL && X509_set_version(out->certificate, 2) == 1 &&
           set_serial(out->certificate) && set_times(out->certificate, days) &&
           set_subject(out->certificate, common_name) && X509_set_pubkey(out->certificate, out->key) == 1;
}

static bool pair_sign(key_pair *self, const key_pair *issuer) {
    return X509_set_issuer_name(self->certificate, X509_get_subject_name(issuer->certificate)) == 1 &&
           add_extension(self->certificate, issuer->certificate, NID_authority_key_identifier,
                         "keyid:always") &&
           X509_sign(self->certificate, issuer->key, EVP_sha256()) > 0;
}

static bool authority_make(key_pair *out, const char *common_name) {
    return pair_begin(out, common_name, AUTHORITY_DAYS) &&
           add_extension(out->certificate, out->certificate, NID_basic_constraints,
                         "critical,CA:TRUE,pathlen:0") &&
           add_extension(out->certificate, out->certificate, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_extension(out->certificate, out->certificate, NID_subject_key_identifier, "hash") &&
           pair_sign(out, out);
}

/* The names go in as values, never through OpenSSL's configuration syntax, in which a comma would begin
 * another. */
static bool add_name(GENERAL_NAMES *names, int kind, const void *data, int size) {
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value = kind == GEN_IPADD ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
    if (name == NULL || value == NULL || ASN1_STRING_set(value, data, size) != 1) {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, kind, value);
    if (sk_GENERAL_NAME_push(names, name) > 0)
        return true;
    GENERAL_NAME_free(name);
    return false;
}

static bool add_alternative_names(X509 *certificate, const char *spiffe_id, bool server) {
    static const uint8_t loopback[4] = {127, 0, 0, 1};
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    bool added = names != NULL && add_name(names, GEN_URI, spiffe_id, (int)strlen(spiffe_id));
    if (added && server)
        added =
            add_name(names, GEN_DNS, "localhost", 9) && add_name(names, GEN_IPADD, loopback, sizeof loopback);
    added = added && X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(names);
    return added;
}

/* As an X.509-SVID must be: not an authority, digital signature, one URI. A server calls others too. */
static bool leaf_make(key_pair *out, const char *name, const char *spiffe_id, bool server,
                      const key_pair *authority) {
    X509 *issuer = authority->certificate;
    return pair_begin(out, name, LEAF_DAYS) &&
           add_extension(out->certificate, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(out->certificate, issuer, NID_key_usage, "critical,digitalSignature") &&
           add_extension(out->certificate, issuer, NID_ext_key_usage,
                         server ? "serverAuth,clientAuth" : "clientAuth") &&
           add_extension(out->certificate, issuer, NID_subject_key_identifier, "hash") &&
           add_alternative_names(out->certificate, spiffe_id, server) && pair_sign(out, authority);
}

/* ---- the two doors ----------------------------------------------------------------------------------- */

status_code x509_create_authority(const char *directory, const char *common_name, failure *why) {
    if (common_name[0] == '\0' || strlen(common_name) > 64)
        return fail_field(why, "common_name", "X509_NAME", "an authority's name has 1 to 64 characters");
    key_pair made = {0};
    status_code code = authority_make(&made, common_name) ? write_pair(&made, directory, "ca", why)
                                                          : library_failed(why, "make the authority");
    key_pair_free(&made);
    return code;
}

/* "spiffe://trust-domain/path", in the characters the SPIFFE standard allows. */
static bool spiffe_valid(const char *id) {
    static const char scheme[] = "spiffe://";
    size_t head = sizeof scheme - 1;
    return strncmp(id, scheme, head) == 0 && strlen(id) <= SPIFFE_BYTES_MAX && id[head] != '\0' &&
           id[head] != '/' &&
           strspn(id + head, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/") ==
               strlen(id + head);
}

static bool file_name_valid(const char *name) {
    size_t size = strlen(name);
    return size > 0 && size <= 64 && name[0] != '.' && strchr(name, '/') == NULL && strcmp(name, "ca") != 0;
}

status_code x509_issue(const char *directory, const char *name, const char *spiffe_id, bool server,
                       failure *why) {
    if (!file_name_valid(name))
        return fail_field(
            why, "name", "X509_NAME",
            "a certificate's name has 1 to 64 characters, no slash, no dot at its start, and is not \"ca\"");
    if (!spiffe_valid(spiffe_id))
        return fail_field(why, "spiffe_id", "X509_NAME",
                          "\"%.200s\" is not a SPIFFE id (spiffe://domain/path)", spiffe_id);
    key_pair authority = {0};
    status_code code = read_authority(directory, &authority, why);
    if (code != STATUS_OK)
        return code;
    key_pair made = {0};
    code = leaf_make(&made, name, spiffe_id, server, &authority)
               ? write_pair(&made, directory, name, why)
               : library_failed(why, "issue the certificate");
    key_pair_free(&made);
    key_pair_free(&authority);
    return code;
}
