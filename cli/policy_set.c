/* Policy sets on their way to the policy service. */
#include "policy_set.h"

#include <string.h>

#include "client/policy_client.h"
#include "statements.h"

/* Whether a text begins with the marker of a document itself, be it after comments. */
static bool begins_document(bytes text) {
    size_t at = 0;
    while (at < text.size) {
        const uint8_t *line = text.data + at;
        const uint8_t *end = memchr(line, '\n', text.size - at);
        size_t size = end != NULL ? (size_t)(end - line) + 1 : text.size - at;
        size_t blank = 0;
        while (blank < size && strchr(" \t\r\n", line[blank]) != NULL && line[blank] != '\0')
            blank++;
        if (blank < size && line[blank] != '#')
            return size >= 3 && memcmp(line, "---", 3) == 0;
        at += size;
    }
    return false;
}

static bytes without_mark(bytes text) {
    bool marked = text.size >= 3 && memcmp(text.data, "\xEF\xBB\xBF", 3) == 0;
    return marked ? bytes_of(text.data + 3, text.size - 3) : text;
}

/* Several files become one stream of documents, without empty ones between. */
static status_code join(cli *self, const policy_source *sources, size_t count, bytes *out, failure *why) {
    buffer text;
    buffer_init(&text, POLICIES_TEXT_BYTES + 8U * POLICY_FILES_MAX);
    for (size_t i = 0; i < count; i++) {
        bytes part = without_mark(sources[i].text);
        if (i > 0)
            buffer_text(&text, begins_document(part) ? "\n" : "\n---\n");
        buffer_append(&text, part.data, part.size);
    }
    void *copy = buffer_ok(&text)
                     ? arena_copy(&self->memory, text.data != NULL ? text.data : "", text.size + 1)
                     : NULL;
    *out = bytes_of(copy, text.size);
    buffer_free(&text);
    if (copy == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the policies");
    if (out->size > POLICY_DOCUMENT_BYTES)
        return fail(why, STATUS_INVALID_ARGUMENT, "POLICY_TOO_LARGE",
                    "the policies are %zu bytes long; the service takes %u at most", out->size,
                    POLICY_DOCUMENT_BYTES);
    return STATUS_OK;
}

static status_code fill(cli *self, const policy_set *loaded, bytes documents,
                        Interlock__Control__V1__PolicySet *out, failure *why) {
    out->name = arena_text(&self->memory, loaded->name);
    out->version = loaded->version;
    out->document = (ProtobufCBinaryData){.len = documents.size, .data = (uint8_t *)documents.data};
    return out->name != NULL
               ? STATUS_OK
               : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the policies");
}

status_code policy_set_compose(cli *self, const char *const *paths, size_t count,
                               Interlock__Control__V1__PolicySet *out, policy_problems *problems,
                               failure *why) {
    policy_source *sources = NULL;
    size_t source_count = 0;
    policy_set *loaded = NULL;
    bytes documents = {0};
    status_code code = policy_files_read(self, paths, count, &sources, &source_count, why);
    if (code == STATUS_OK)
        code = policies_load(sources, source_count, &self->memory, &loaded, problems, why);
    if (code == STATUS_OK)
        code = join(self, sources, source_count, &documents, why);
    if (code == STATUS_OK)
        code = fill(self, loaded, documents, out, why);
    policies_unref(loaded);
    return code;
}

status_code policy_set_put(cli *self, Interlock__Control__V1__PolicySet *set,
                           Interlock__Control__V1__PutControlResponse **out, failure *why) {
    rpc_channel *policy = NULL;
    secret_key *key = NULL;
    const char *principal = NULL;
    status_code code = cli_operator(self, &key, &principal, why);
    if (code == STATUS_OK)
        code = cli_channel(self, "policy", ROLE_OPERATOR, &policy, why);
    if (code == STATUS_OK) {
        const signer_identity signer = {.key = key,
                                        .principal = principal,
                                        .installation = self->roots->installation,
                                        .source = self->source,
                                        .memory = &self->memory};
        Interlock__Common__V1__Envelope *statement = statement_policy(&signer, set);
        code = statement != NULL
                   ? policy_put_control_wait(policy, statement, CLI_TIMEOUT_MS, &self->memory, out, why)
                   : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the statement");
    }
    secret_key_free(key);
    rpc_channel_close(policy);
    return code;
}

status_code policy_control_get(cli *self, Interlock__Control__V1__GetControlResponse **out, failure *why) {
    rpc_channel *policy = NULL;
    status_code code = cli_channel(self, "policy", ROLE_OPERATOR, &policy, why);
    if (code == STATUS_OK)
        code = policy_get_control_wait(policy, CLI_TIMEOUT_MS, &self->memory, out, why);
    rpc_channel_close(policy);
    return code;
}
