/* Reading resources. A service that does not say its name is known by what Kubernetes calls its workload. */
#include "resource.h"

#include <stdio.h>
#include <string.h>

#define UNKNOWN_SERVICE "unknown_service"
#define ID_HEX_LEAST                                                                                         \
    8U /* a segment of at least so many hexadecimal digits, with a figure among them, is an id */

static bytes text_value(const any_value *value) {
    if (value == NULL || value->value_case != OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE)
        return bytes_of(NULL, 0);
    return bytes_of_text(value->string_value);
}

/* Attributes are few; a hostile number of them costs one pass a key, within the bounds of a message. */
bytes attribute_text(key_value *const *attributes, size_t count, const char *const *keys) {
    for (; *keys != NULL; keys++)
        for (size_t i = 0; i < count; i++)
            if (strcmp(attributes[i]->key, *keys) == 0) {
                bytes text = text_value(attributes[i]->value);
                if (text.size > 0)
                    return text;
            }
    return bytes_of(NULL, 0);
}

static bytes text_or(bytes text, const char *otherwise) {
    return text.size == 0 ? bytes_of_text(otherwise) : text;
}

static bool says_unknown(bytes name) {
    size_t size = strlen(UNKNOWN_SERVICE);
    return name.size == 0 || (name.size >= size && memcmp(name.data, UNKNOWN_SERVICE, size) == 0);
}

static bytes service_name(key_value *const *attributes, size_t count) {
    static const char *const keys[] = {"service.name", NULL};
    static const char *const workload_keys[] = {"k8s.deployment.name", "k8s.statefulset.name",
                                                "k8s.daemonset.name",  "k8s.cronjob.name",
                                                "k8s.job.name",        "faas.name",
                                                "k8s.container.name",  NULL};
    bytes name = attribute_text(attributes, count, keys);
    if (!says_unknown(name))
        return name;
    bytes workload = attribute_text(attributes, count, workload_keys);
    return workload.size > 0 ? workload : text_or(name, UNKNOWN_SERVICE);
}

void resource_read(const otlp_resource *from, resource_identity *out) {
    static const char *const space_keys[] = {"service.namespace", "k8s.namespace.name", NULL};
    static const char *const environment_keys[] = {"deployment.environment.name", "deployment.environment",
                                                   NULL};
    static const char *const pod_keys[] = {"k8s.pod.name", "container.name", NULL};
    static const char *const host_keys[] = {"k8s.node.name", "host.name", "host.id", NULL};
    key_value *const *attributes = from == NULL ? NULL : from->attributes;
    size_t count = from == NULL ? 0 : from->n_attributes;
    *out = (resource_identity){0};
    out->environment = text_or(attribute_text(attributes, count, environment_keys), "default");
    out->space = text_or(attribute_text(attributes, count, space_keys), "default");
    out->service = service_name(attributes, count);
    out->pod = attribute_text(attributes, count, pod_keys);
    out->host = attribute_text(attributes, count, host_keys);
    /* Inside a pod the machine's name, as the process sees it, is the pod's. */
    if (bytes_equal(out->host, out->pod))
        out->host = bytes_of(NULL, 0);
    if (!name_build(NODE_SERVICE, out->environment, out->space, out->service, out->name))
        out->name[0] = '\0';
}

bool resource_neighbour(const resource_identity *self, node_kind kind, bytes name,
                        char out[LIMIT_NAME_BYTES]) {
    return name.size > 0 && name_build(kind, self->environment, self->space, name, out);
}

bool resource_is_nameless(const resource_identity *self) {
    return says_unknown(self->service);
}

bool resource_host(const resource_identity *self, char out[LIMIT_NAME_BYTES]) {
    return self->host.size > 0 &&
           name_build(NODE_HOST, self->environment, bytes_of_text("default"), self->host, out);
}

bool resource_pod(const resource_identity *self, char out[LIMIT_NAME_BYTES]) {
    return resource_neighbour(self, NODE_HOST, self->pod, out);
}

bool resource_endpoint(const char *service, const char *operation, char out[LIMIT_NAME_BYTES]) {
    const char *rest = strchr(service, ':');
    if (rest == NULL)
        return false;
    /* The service's part is escaped already; the operation's is escaped as a name of its own, and what stands
     * before it is left out. */
    char alone[LIMIT_NAME_BYTES];
    bytes one = bytes_of_text("x");
    if (!name_build(NODE_ENDPOINT, one, one, bytes_of_text(operation), alone))
        return false;
    char built[2 * LIMIT_NAME_BYTES];
    int size = snprintf(built, sizeof built, "endpoint%s%%2F%s", rest, strrchr(alone, '/') + 1);
    if (size < 0 || size >= (int)LIMIT_NAME_BYTES)
        return false;
    memcpy(out, built, (size_t)size + 1);
    return true;
}

/* ---- Operations
 * --------------------------------------------------------------------------------------------------- */

static bool is_hex(uint8_t value) {
    return (value >= '0' && value <= '9') || (value >= 'a' && value <= 'f') || (value >= 'A' && value <= 'F');
}

/* All figures, or long hexadecimal with a figure (and the dashes of a UUID). */
static bool segment_is_id(bytes segment) {
    size_t digits = 0;
    size_t hex = 0;
    for (size_t i = 0; i < segment.size; i++) {
        uint8_t value = segment.data[i];
        digits += value >= '0' && value <= '9';
        hex += is_hex(value);
        if (!is_hex(value) && value != '-')
            return false;
    }
    return digits > 0 && (digits == segment.size || hex >= ID_HEX_LEAST);
}

bytes operation_of(bytes name, char *out, size_t size) {
    const uint8_t *slash = name.size == 0 ? NULL : memchr(name.data, '/', name.size);
    if (slash == NULL)
        return name;
    size_t used = 0;
    bool changed = false;
    for (size_t at = 0; at < name.size && used < size;) {
        size_t end = at;
        while (end < name.size && name.data[end] != '/')
            end++;
        bytes segment = bytes_of(name.data + at, end - at);
        bool is_id = at > 0 && segment_is_id(segment);
        const char *text = is_id ? "{id}" : (const char *)segment.data;
        size_t length = is_id ? 4 : segment.size;
        changed = changed || is_id;
        length = length < size - used ? length : size - used;
        memcpy(out + used, text, length);
        used += length;
        if (end < name.size && used < size)
            out[used++] = '/';
        at = end + 1;
    }
    return changed ? bytes_of(out, used) : name;
}
