/* See control/place.h. The file is one mapping with one key; libyaml's tree tells the place of what is wrong.
 */
#include "control/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#define PLACE_FILE_BYTES 4096U

static status_code refuse_at(const char *path, yaml_mark_t mark, const char *problem, failure *why) {
    return fail(why, STATUS_INVALID_ARGUMENT, "COORDINATION_INVALID",
                "%.300s:%zu:%zu: %s; the file says etcd: \"http://host:2379,…\" and nothing else", path,
                mark.line + 1, mark.column + 1, problem);
}

/* What a YAML string in quotes holds as it stands, and no URL lacks. */
static bool endpoints_plain(const char *text) {
    size_t size = strlen(text);
    return size > 0 && size < PLACE_ETCD_BYTES &&
           strspn(text,
                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/[]@!$&'()*+,;=%") ==
               size;
}

/* ---- reading ---- */

static status_code take_root(yaml_document_t *document, const char *path, place *out, failure *why) {
    const yaml_node_t *root = yaml_document_get_root_node(document);
    if (root == NULL)
        return refuse_at(path, (yaml_mark_t){0}, "the file is empty", why);
    if (root->type != YAML_MAPPING_NODE || root->data.mapping.pairs.top - root->data.mapping.pairs.start != 1)
        return refuse_at(path, root->start_mark, "not one key with its value", why);
    const yaml_node_t *key = yaml_document_get_node(document, root->data.mapping.pairs.start->key);
    const yaml_node_t *value = yaml_document_get_node(document, root->data.mapping.pairs.start->value);
    if (key->type != YAML_SCALAR_NODE || strcmp((const char *)key->data.scalar.value, "etcd") != 0)
        return refuse_at(path, key->start_mark, "the key is not \"etcd\"", why);
    if (value->type != YAML_SCALAR_NODE ||
        strlen((const char *)value->data.scalar.value) != value->data.scalar.length ||
        !endpoints_plain((const char *)value->data.scalar.value))
        return refuse_at(path, value->start_mark, "not a list of etcd's URLs", why);
    memcpy(out->etcd, value->data.scalar.value, value->data.scalar.length + 1);
    return STATUS_OK;
}

static status_code take_document(yaml_parser_t *parser, const char *path, place *out, failure *why) {
    yaml_document_t document, second;
    if (yaml_parser_load(parser, &document) != 1)
        return refuse_at(path, parser->problem_mark, "no YAML", why);
    status_code code = take_root(&document, path, out, why);
    yaml_document_delete(&document);
    if (code != STATUS_OK)
        return code;
    if (yaml_parser_load(parser, &second) != 1)
        return refuse_at(path, parser->problem_mark, "no YAML", why);
    if (yaml_document_get_root_node(&second) != NULL)
        code = refuse_at(path, second.start_mark, "more than one document", why);
    yaml_document_delete(&second);
    return code;
}

static status_code take_text(const char *path, const char *text, size_t size, place *out, failure *why) {
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) != 1)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory to read %.300s", path);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    status_code code = take_document(&parser, path, out, why);
    yaml_parser_delete(&parser);
    return code;
}

/* No file is the common case: the embedded twin. */
static status_code read_file(const char *path, place *out, failure *why) {
    char text[PLACE_FILE_BYTES];
    FILE *file = fopen(path, "re");
    if (file == NULL && errno == ENOENT)
        return STATUS_OK;
    if (file == NULL)
        return fail(why, STATUS_FAILED_PRECONDITION, "COORDINATION_UNREADABLE", "cannot read %.300s: %s",
                    path, strerror(errno));
    size_t size = fread(text, 1, sizeof text, file);
    bool whole = ferror(file) == 0 && size < sizeof text;
    fclose(file);
    if (!whole)
        return fail(why, STATUS_FAILED_PRECONDITION, "COORDINATION_UNREADABLE",
                    "cannot read %.300s, or it is larger than %u bytes", path, PLACE_FILE_BYTES - 1);
    return take_text(path, text, size, out, why);
}

static bool is_given(const char *text) {
    return text != NULL && text[0] != '\0';
}

static status_code path_of(char *out, size_t size, const char *folder, const char *name, failure *why) {
    int used = snprintf(out, size, "%s/%s", folder, name);
    if (used < 0 || (size_t)used >= size)
        return fail_field(why, "data-dir", "PATH_TOO_LONG", "the data folder's path is too long");
    return STATUS_OK;
}

/* What the caller was told. */
static status_code take_given(place *out, const char *etcd, const char *file, failure *why) {
    if (is_given(etcd) && is_given(file))
        return fail_field(why, "etcd", "TWO_PLACES",
                          "--etcd and --coord name two places of coordination; give one of them");
    if ((is_given(etcd) && strlen(etcd) >= sizeof out->etcd) ||
        (is_given(file) && strlen(file) >= sizeof out->file))
        return fail_field(why, is_given(etcd) ? "etcd" : "coord", "VALUE_TOO_LONG",
                          "the place of coordination is too long");
    if (is_given(etcd))
        snprintf(out->etcd, sizeof out->etcd, "%s", etcd);
    if (is_given(file))
        snprintf(out->file, sizeof out->file, "%s", file);
    return STATUS_OK;
}

status_code place_find(place *out, const char *data_dir, const char *etcd, const char *file, failure *why) {
    char path[PLACE_PATH_BYTES];
    place found = {.etcd = ""};
    status_code code = path_of(found.file, sizeof found.file, data_dir, "coord/coord.db", why);
    if (code == STATUS_OK)
        code = path_of(path, sizeof path, data_dir, PLACE_FILE, why);
    if (code == STATUS_OK)
        code = is_given(etcd) || is_given(file) ? take_given(&found, etcd, file, why)
                                                : read_file(path, &found, why);
    if (code == STATUS_OK)
        *out = found;
    return code;
}

/* ---- writing ---- */

static status_code write_new(const char *path, const char *text, failure *why) {
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    size_t size = strlen(text);
    bool written =
        descriptor >= 0 && write(descriptor, text, size) == (ssize_t)size && fsync(descriptor) == 0;
    int cause = errno;
    if (descriptor >= 0)
        close(descriptor);
    if (written)
        return STATUS_OK;
    if (descriptor >= 0)
        unlink(path);
    return fail(why, STATUS_FAILED_PRECONDITION, "COORDINATION_UNWRITABLE", "cannot write %.300s: %s", path,
                strerror(cause));
}

status_code place_save(const char *folder, const char *etcd, failure *why) {
    char path[PLACE_PATH_BYTES], text[PLACE_ETCD_BYTES + 256];
    if (!endpoints_plain(etcd))
        return fail_field(why, "etcd", "BAD_ENDPOINTS",
                          "write etcd's endpoints as http://host:2379,http://…, %u bytes at most",
                          PLACE_ETCD_BYTES - 1);
    status_code code = path_of(path, sizeof path, folder, PLACE_FILE, why);
    if (code != STATUS_OK)
        return code;
    snprintf(text, sizeof text,
             "# Where this installation's coordination is: every service and command reads it here.\n"
             "etcd: \"%s\"\n",
             etcd);
    return write_new(path, text, why);
}

/* ---- opening ---- */

void place_prefix(const trust *roots, char out[PLACE_PREFIX_BYTES]) {
    snprintf(out, PLACE_PREFIX_BYTES, "interlock/%s/", roots->installation);
}

status_code place_open(coord **out, const place *self, const trust *roots, const chance *source,
                       failure *why) {
    char prefix[PLACE_PREFIX_BYTES];
    place_prefix(roots, prefix);
    coord_options options = {.embedded_path = self->etcd[0] == '\0' ? self->file : NULL,
                             .endpoints = self->etcd[0] != '\0' ? self->etcd : NULL,
                             .prefix = prefix,
                             .source = source};
    return coord_open(out, &options, why);
}
