/* The name and the version that a policy document states: what its signed statement repeats. The document
 * itself is judged by the policy service. */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "cli.h"

static const yaml_node_t *member(yaml_document_t *document, const yaml_node_t *mapping, const char *key) {
    if (mapping == NULL || mapping->type != YAML_MAPPING_NODE)
        return NULL;
    for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
         pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = yaml_document_get_node(document, pair->key);
        if (name->type == YAML_SCALAR_NODE && strcmp((const char *)name->data.scalar.value, key) == 0)
            return yaml_document_get_node(document, pair->value);
    }
    return NULL;
}

static const char *scalar(const yaml_node_t *node) {
    return node != NULL && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static status_code read_metadata(yaml_document_t *document, const char *path, char name[129],
                                 uint64_t *version, failure *why) {
    const yaml_node_t *metadata = member(document, yaml_document_get_root_node(document), "metadata");
    const char *stated = scalar(member(document, metadata, "name"));
    const char *number = scalar(member(document, metadata, "version"));
    char *end = NULL;
    if (stated == NULL || stated[0] == '\0' || strlen(stated) > 128)
        return fail(why, STATUS_INVALID_ARGUMENT, "POLICY_INVALID",
                    "%.200s: metadata.name is missing or longer than 128 bytes", path);
    unsigned long long value =
        number != NULL && number[0] >= '0' && number[0] <= '9' ? strtoull(number, &end, 10) : 0;
    if (value == 0 || *end != '\0' || value > INT64_MAX)
        return fail(why, STATUS_INVALID_ARGUMENT, "POLICY_INVALID",
                    "%.200s: metadata.version must be a whole number from 1 on", path);
    snprintf(name, 129, "%s", stated);
    *version = value;
    return STATUS_OK;
}

status_code cli_policy_metadata(bytes document, const char *path, char name[129], uint64_t *version,
                                failure *why) {
    yaml_parser_t parser;
    yaml_document_t parsed;
    if (yaml_parser_initialize(&parser) != 1)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory to read %.200s", path);
    yaml_parser_set_input_string(&parser, document.data, document.size);
    if (yaml_parser_load(&parser, &parsed) != 1) {
        status_code code = fail(why, STATUS_INVALID_ARGUMENT, "POLICY_INVALID", "%.200s:%zu:%zu: %s", path,
                                parser.problem_mark.line + 1, parser.problem_mark.column + 1,
                                parser.problem != NULL ? parser.problem : "not YAML");
        yaml_parser_delete(&parser);
        return code;
    }
    status_code code = read_metadata(&parsed, path, name, version, why);
    yaml_document_delete(&parsed);
    yaml_parser_delete(&parser);
    return code;
}
