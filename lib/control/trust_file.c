/* installation.yaml as text. libcyaml maps it to a struct and refuses what the schema does not know;
 * libyaml's tree of nodes gives what libcyaml does not: duplicate keys, and the place of a value that fails a
 * later check. */
#include "trust_file.h"

#include <cyaml/cyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "control/trust.h"

static const cyaml_schema_field_t key_fields[] = {
    CYAML_FIELD_STRING_PTR("principal", CYAML_FLAG_POINTER, trust_file_key, principal, 1, 127),
    CYAML_FIELD_STRING_PTR("purpose", CYAML_FLAG_POINTER, trust_file_key, purpose, 1, 31),
    CYAML_FIELD_STRING_PTR("public_key", CYAML_FLAG_POINTER, trust_file_key, public_key, 1, 127),
    CYAML_FIELD_END};

static const cyaml_schema_value_t key_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, trust_file_key, key_fields)};

static const cyaml_schema_field_t file_fields[] = {
    CYAML_FIELD_STRING_PTR("installation", CYAML_FLAG_POINTER, trust_file, installation, 1, 63),
    CYAML_FIELD_STRING_PTR("origin", CYAML_FLAG_POINTER, trust_file, origin, 1, 127),
    CYAML_FIELD_SEQUENCE("keys", CYAML_FLAG_POINTER, trust_file, keys, &key_schema, 1, TRUST_KEYS_MAX),
    CYAML_FIELD_END};

static const cyaml_schema_value_t file_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, trust_file, file_fields)};

/* ---- libyaml's view ---- */

static yaml_node_t *member_of(yaml_document_t *document, yaml_node_t *mapping, const char *name) {
    if (mapping == NULL || mapping->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start; pair < mapping->data.mapping.pairs.top;
         pair++) {
        yaml_node_t *key = yaml_document_get_node(document, pair->key);
        if (key->type == YAML_SCALAR_NODE && strcmp((const char *)key->data.scalar.value, name) == 0)
            return yaml_document_get_node(document, pair->value);
    }
    return NULL;
}

static yaml_node_t *item_of(yaml_document_t *document, yaml_node_t *sequence, int index) {
    if (sequence == NULL || sequence->type != YAML_SEQUENCE_NODE)
        return NULL;
    yaml_node_item_t *item = sequence->data.sequence.items.start + index;
    return item < sequence->data.sequence.items.top ? yaml_document_get_node(document, *item) : NULL;
}

static bool keys_equal(const yaml_node_t *a, const yaml_node_t *b) {
    return a->type == YAML_SCALAR_NODE && b->type == YAML_SCALAR_NODE &&
           a->data.scalar.length == b->data.scalar.length &&
           memcmp(a->data.scalar.value, b->data.scalar.value, a->data.scalar.length) == 0;
}

static bool key_known(const yaml_node_t *key, const cyaml_schema_field_t *fields) {
    for (; key->type == YAML_SCALAR_NODE && fields->key != NULL; fields++)
        if (strcmp((const char *)key->data.scalar.value, fields->key) == 0)
            return true;
    return false;
}

/* libcyaml refuses unknown keys too, but names another line than theirs, and of equal keys it takes the last.
 * An unknown key ends the loop, so that no more keys are compared than the schema has (and one). */
static status_code check_keys(yaml_document_t *document, const yaml_node_t *mapping,
                              const cyaml_schema_field_t *fields, const char *name, failure *why) {
    if (mapping == NULL || mapping->type != YAML_MAPPING_NODE)
        return STATUS_OK;
    const yaml_node_pair_t *start = mapping->data.mapping.pairs.start;
    for (const yaml_node_pair_t *pair = start; pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(document, pair->key);
        const char *problem = key_known(key, fields) ? NULL : "is not known here; remove it";
        for (const yaml_node_pair_t *earlier = start; problem == NULL && earlier < pair; earlier++)
            if (keys_equal(key, yaml_document_get_node(document, earlier->key)))
                problem = "stands here twice; keep one";
        if (problem != NULL)
            return fail(why, STATUS_INVALID_ARGUMENT, "TRUST_INVALID", "%s:%zu:%zu: the key \"%.64s\" %s",
                        name, key->start_mark.line + 1, key->start_mark.column + 1,
                        key->type == YAML_SCALAR_NODE ? (const char *)key->data.scalar.value : "?", problem);
    }
    return STATUS_OK;
}

static status_code check_document(yaml_document_t *document, const char *name, failure *why) {
    yaml_node_t *root = yaml_document_get_root_node(document);
    if (root == NULL)
        return fail(why, STATUS_INVALID_ARGUMENT, "TRUST_INVALID", "%s: the file is empty", name);
    status_code code = check_keys(document, root, file_fields, name, why);
    yaml_node_t *keys = member_of(document, root, "keys"), *item;
    for (int i = 0; code == STATUS_OK && (item = item_of(document, keys, i)) != NULL; i++)
        code = check_keys(document, item, key_fields, name, why);
    return code;
}

static status_code load_document(yaml_parser_t *parser, yaml_document_t *document, const char *name,
                                 failure *why) {
    if (yaml_parser_load(parser, document) == 1)
        return STATUS_OK;
    return fail(why, STATUS_INVALID_ARGUMENT, "TRUST_INVALID", "%s:%zu:%zu: no YAML: %s", name,
                parser->problem_mark.line + 1, parser->problem_mark.column + 1,
                parser->problem == NULL ? "out of memory" : parser->problem);
}

static status_code check_end(yaml_parser_t *parser, const char *name, failure *why) {
    yaml_document_t second;
    status_code code = load_document(parser, &second, name, why);
    if (code != STATUS_OK)
        return code;
    bool more = yaml_document_get_root_node(&second) != NULL;
    yaml_document_delete(&second);
    return more ? fail(why, STATUS_INVALID_ARGUMENT, "TRUST_INVALID", "%s: more than one document; keep one",
                       name)
                : STATUS_OK;
}

static status_code check_structure(bytes text, const char *name, failure *why) {
    yaml_parser_t parser;
    yaml_document_t document;
    if (yaml_parser_initialize(&parser) == 0)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "%s: no memory for reading it", name);
    yaml_parser_set_input_string(&parser, text.data, text.size);
    status_code code = load_document(&parser, &document, name, why);
    if (code == STATUS_OK) {
        code = check_document(&document, name, why);
        yaml_document_delete(&document);
        if (code == STATUS_OK)
            code = check_end(&parser, name, why);
    }
    yaml_parser_delete(&parser);
    return code;
}

/* ---- libcyaml's view ---- */

/* libcyaml tells what is wrong, and where, only to its log: the first lines are kept. */
static void keep_message(cyaml_log_t level, void *context, const char *format, va_list arguments) {
    (void)level;
    char *text = context;
    size_t used = strlen(text), room = 320 - used;
    if (room < 2)
        return;
    vsnprintf(text + used, room, format, arguments);
    for (char *newline = text + used; (newline = strchr(newline, '\n')) != NULL;)
        *newline = ';';
}

static cyaml_config_t configuration(char *message) {
    return (cyaml_config_t){.log_fn = keep_message,
                            .log_ctx = message,
                            .mem_fn = cyaml_mem,
                            .log_level = CYAML_LOG_ERROR,
                            .flags = CYAML_CFG_NO_ALIAS};
}

status_code trust_file_parse(bytes text, const char *name, trust_file **out, failure *why) {
    status_code code = check_structure(text, name, why);
    if (code != STATUS_OK)
        return code;
    char message[321] = "";
    cyaml_config_t config = configuration(message);
    cyaml_data_t *data = NULL;
    cyaml_err_t error = cyaml_load_data(text.data, text.size, &config, &file_schema, &data, NULL);
    if (error != CYAML_OK)
        return fail(why, STATUS_INVALID_ARGUMENT, "TRUST_INVALID", "%s: %s (%s)", name, cyaml_strerror(error),
                    message);
    *out = (trust_file *)data;
    return STATUS_OK;
}

void trust_file_free(trust_file *self) {
    if (self == NULL)
        return;
    cyaml_config_t config = configuration(NULL);
    config.log_fn = NULL;
    cyaml_free(&config, &file_schema, self, 0);
}

/* ---- Places ---- */

static void locate(bytes text, int entry, const char *field, size_t *line, size_t *column) {
    yaml_parser_t parser;
    yaml_document_t document;
    if (yaml_parser_initialize(&parser) == 0)
        return;
    yaml_parser_set_input_string(&parser, text.data, text.size);
    if (yaml_parser_load(&parser, &document) == 1) {
        yaml_node_t *node = yaml_document_get_root_node(&document);
        if (entry >= 0)
            node = item_of(&document, member_of(&document, node, "keys"), entry);
        node = member_of(&document, node, field);
        if (node != NULL) {
            *line = node->start_mark.line + 1;
            *column = node->start_mark.column + 1;
        }
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
}

status_code trust_file_refuse(bytes text, const char *name, int entry, const char *field, failure *why,
                              const char *format, ...) {
    char message[320];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    size_t line = 1, column = 1;
    locate(text, entry, field, &line, &column);
    return fail(why, STATUS_INVALID_ARGUMENT, "TRUST_INVALID", "%s:%zu:%zu: %s: %s", name, line, column,
                field, message);
}
