/* Reading Kubernetes objects: what each says about the graph. Names follow what OpenTelemetry's conventions
 * make of the same pod, so that the object and its telemetry are one node. */
#include "objects.h"

#include <stdio.h>
#include <string.h>

#include "base/instant.h"
#include "json_fields.h"

#define CONTAINERS_MAX 32U
#define REFERENCES_MAX 64U
#define TEXT_BYTES 512U
#define REVISION_DIGITS 20U
#define MARK_PLACES 4U
#define RESOURCE_PREFIX "resource.opentelemetry.io/"

typedef struct reading {
    const object_place *place;
    const json_t *root, *metadata;
    const json_t *pod; /* spec.template of a workload; NULL */
    const char *kind, *name, *space;
    char environment[TEXT_BYTES];
    char service[LIMIT_NAME_BYTES]; /* of a workload */
    arena *memory;
    statements *what;
} reading;

/* ---- What an object is called */

/* A value of OTEL_RESOURCE_ATTRIBUTES, "key=value,key=value". */
static bool resource_list_find(const char *list, const char *key, char out[TEXT_BYTES]) {
    size_t size = strlen(key);
    for (const char *at = list; *at != '\0'; at += *at == ',') {
        size_t item = strcspn(at, ",");
        if (item > size && strncmp(at, key, size) == 0 && at[size] == '=' && item - size - 1 < TEXT_BYTES) {
            snprintf(out, TEXT_BYTES, "%.*s", (int)(item - size - 1), at + size + 1);
            return out[0] != '\0';
        }
        at += item;
    }
    return false;
}

static const json_t *containers_of(const reading *self) {
    return json_at(self->pod, "spec.containers");
}

/* A literal value; what refers to another variable is not known here. */
static const char *variable_find(const reading *self, const char *name) {
    const json_t *containers = containers_of(self);
    for (size_t i = 0; i < json_array_size(containers) && i < CONTAINERS_MAX; i++) {
        const json_t *variables = json_object_get(json_array_get(containers, i), "env");
        for (size_t j = 0; j < json_array_size(variables); j++) {
            const json_t *item = json_array_get(variables, j);
            const char *value = json_text_at(item, "value");
            const char *called = json_text_at(item, "name");
            if (called != NULL && strcmp(called, name) == 0 && value != NULL && value[0] != '\0' &&
                strstr(value, "$(") == NULL)
                return value;
        }
    }
    return NULL;
}

static const char *member_text(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL && text[0] != '\0' ? text : NULL;
}

/* From the pod's labels or annotations, or else the object's. */
static const char *mark_find(const reading *self, const char *const *keys) {
    const json_t *places[MARK_PLACES] = {
        json_at(self->pod, "metadata.annotations"), json_at(self->pod, "metadata.labels"),
        json_at(self->metadata, "annotations"), json_at(self->metadata, "labels")};
    for (; *keys != NULL; keys++)
        for (size_t i = 0; i < MARK_PLACES; i++) {
            const char *text = member_text(places[i], *keys);
            if (text != NULL)
                return text;
        }
    return NULL;
}

/* An attribute of the resource that the pod's telemetry has, as far as the object tells it. */
static bool resource_find(const reading *self, const char *key, char out[TEXT_BYTES]) {
    char annotation[TEXT_BYTES];
    const char *list = variable_find(self, "OTEL_RESOURCE_ATTRIBUTES");
    if (list != NULL && resource_list_find(list, key, out))
        return true;
    snprintf(annotation, sizeof annotation, RESOURCE_PREFIX "%s", key);
    const char *const keys[] = {annotation, NULL};
    const char *text = mark_find(self, keys);
    if (text == NULL)
        return false;
    snprintf(out, TEXT_BYTES, "%s", text);
    return true;
}

static void environment_read(reading *self) {
    static const char *const keys[] = {"deployment.environment.name", "deployment.environment", NULL};
    for (const char *const *key = keys; *key != NULL; key++)
        if (resource_find(self, *key, self->environment))
            return;
    snprintf(self->environment, sizeof self->environment, "%s",
             self->place->environment[0] != '\0' ? self->place->environment : "default");
}

static bool name_make(const reading *self, node_kind kind, const char *space, const char *name,
                      char out[LIMIT_NAME_BYTES]) {
    return name_build(kind, bytes_of_text(self->environment), bytes_of_text(space), bytes_of_text(name), out);
}

static status_code bad_name(const reading *self, failure *why) {
    return fail(why, STATUS_INVALID_ARGUMENT, "BAD_NAME",
                "%s %s/%s makes no name for a node: too long or empty", self->kind, self->space, self->name);
}

static status_code service_read(reading *self, failure *why) {
    static const char *const labels[] = {"app.kubernetes.io/name", "app", NULL};
    char name[TEXT_BYTES];
    char space[TEXT_BYTES];
    const char *given = variable_find(self, "OTEL_SERVICE_NAME");
    if (given == NULL && resource_find(self, "service.name", name))
        given = name;
    if (given == NULL)
        given = mark_find(self, labels);
    if (given == NULL)
        given = self->name;
    if (!resource_find(self, "service.namespace", space))
        snprintf(space, sizeof space, "%s", self->space);
    if (!name_make(self, NODE_SERVICE, space, given, self->service))
        return bad_name(self, why);
    return STATUS_OK;
}

/* ---- Owners, zones */

/* A full name, or a word that becomes one in the object's namespace. */
static bool marked_name(const reading *self, node_kind kind, const char *text, char out[LIMIT_NAME_BYTES]) {
    name_parts parts;
    if (name_parse(text, &parts, NULL) == STATUS_OK && parts.kind == kind) {
        snprintf(out, LIMIT_NAME_BYTES, "%s", text);
        return true;
    }
    return name_make(self, kind, self->space, text, out);
}

static void marks_put(const reading *self, size_t node) {
    static const char *const owners[] = {"interlock/owner", "team", "owner", NULL};
    static const char *const zones[] = {"interlock/zone", NULL};
    static const char *const tiers[] = {"interlock/tier", NULL};
    char name[LIMIT_NAME_BYTES];
    const char *owner = mark_find(self, owners);
    const char *zone = mark_find(self, zones);
    statements_attribute(self->what, node, "tier", mark_find(self, tiers));
    if (owner != NULL && marked_name(self, NODE_KIND(OWNER), owner, name)) {
        (void)statements_node(self->what, NODE_KIND(OWNER), name, PROVENANCE_DECLARED);
        (void)statements_edge(self->what, EDGE_KIND(OWNED_BY), self->service, name, PROVENANCE_DECLARED);
    }
    if (zone != NULL && marked_name(self, NODE_KIND(ZONE), zone, name)) {
        (void)statements_node(self->what, NODE_KIND(ZONE), name, PROVENANCE_DECLARED);
        (void)statements_edge(self->what, EDGE_KIND(IN_ZONE), self->service, name, PROVENANCE_DECLARED);
    }
}

/* ---- Images */

/* The tag of "registry:5000/shop/cart:1.4@sha256:0123…", or the head of its digest, or "latest". */
static void image_version(const char *image, char out[TEXT_BYTES]) {
    const char *digest = strchr(image, '@');
    size_t size = digest != NULL ? (size_t)(digest - image) : strlen(image);
    const char *tag = NULL;
    for (size_t i = 0; i < size; i++) {
        if (image[i] == '/')
            tag = NULL; /* what was before a slash is the registry's port */
        else if (image[i] == ':')
            tag = image + i + 1;
    }
    if (tag != NULL)
        snprintf(out, TEXT_BYTES, "%.*s", (int)(image + size - tag), tag);
    else if (digest != NULL)
        snprintf(out, TEXT_BYTES, "%.20s", digest + 1);
    else
        snprintf(out, TEXT_BYTES, "latest");
}

/* The container that is the service: the one called like the workload, else the first. */
static const char *main_image(const reading *self) {
    const json_t *containers = containers_of(self);
    for (size_t i = 0; i < json_array_size(containers) && i < CONTAINERS_MAX; i++) {
        const char *name = json_text_at(json_array_get(containers, i), "name");
        if (name != NULL && strcmp(name, self->name) == 0)
            return json_text_at(json_array_get(containers, i), "image");
    }
    return json_text_at(json_array_get(containers, 0), "image");
}

static const char *all_images(const reading *self) {
    const json_t *containers = containers_of(self);
    const char *all = "";
    for (size_t i = 0; i < json_array_size(containers) && i < CONTAINERS_MAX && all != NULL; i++) {
        const char *image = json_text_at(json_array_get(containers, i), "image");
        if (image != NULL)
            all = arena_format(self->memory, "%s%s%s", all, all[0] != '\0' ? "," : "", image);
    }
    return all;
}

/* What runs is a deploy: when an image changes, another deploy (or the same one, said anew) takes its place.
 */
static status_code deploy_put(const reading *self, failure *why) {
    static const char *const labels[] = {RESOURCE_PREFIX "service.version", "app.kubernetes.io/version",
                                         NULL};
    char version[TEXT_BYTES];
    char name[LIMIT_NAME_BYTES];
    name_parts parts;
    const char *image = main_image(self);
    const char *stated = mark_find(self, labels);
    if (image == NULL)
        return STATUS_OK;
    image_version(image, version);
    status_code code = name_parse(self->service, &parts, why);
    if (code != STATUS_OK)
        return code;
    char escaped[LIMIT_NAME_BYTES];
    bytes plain = bytes_of_text("x");
    if (!name_build(NODE_KIND(DEPLOY), plain, plain, bytes_of_text(version), escaped))
        return bad_name(self, why);
    int size = snprintf(name, sizeof name, "deploy:%s.%s", strchr(self->service, ':') + 1,
                        strrchr(escaped, '/') + 1);
    if (size >= (int)sizeof name)
        return bad_name(self, why);
    size_t node = statements_node(self->what, NODE_KIND(DEPLOY), name, PROVENANCE_OBSERVED);
    statements_attribute(self->what, node, "version", version);
    statements_attribute(self->what, node, "stated_version", stated);
    statements_made(self->what, node, "images", all_images(self));
    size_t edge =
        statements_edge(self->what, EDGE_KIND(CHANGED_BY), self->service, name, PROVENANCE_OBSERVED);
    statements_attribute(self->what, edge, "version", version);
    statements_made(self->what, edge, "images", all_images(self));
    return STATUS_OK;
}

/* ---- Workloads */

static void config_edge(const reading *self, const char *config) {
    char name[LIMIT_NAME_BYTES];
    if (config != NULL && name_make(self, NODE_KIND(CONFIG), self->space, config, name))
        (void)statements_edge(self->what, EDGE_KIND(CHANGED_BY), self->service, name, PROVENANCE_OBSERVED);
}

/* The configmaps that the pods read: a change of one changes the service. */
static void configs_put(const reading *self) {
    const json_t *containers = containers_of(self);
    const json_t *volumes = json_at(self->pod, "spec.volumes");
    for (size_t i = 0; i < json_array_size(containers) && i < CONTAINERS_MAX; i++) {
        const json_t *whole = json_object_get(json_array_get(containers, i), "envFrom");
        const json_t *single = json_object_get(json_array_get(containers, i), "env");
        for (size_t j = 0; j < json_array_size(whole) && j < REFERENCES_MAX; j++)
            config_edge(self, json_text_at(json_array_get(whole, j), "configMapRef.name"));
        for (size_t j = 0; j < json_array_size(single) && j < REFERENCES_MAX; j++)
            config_edge(self, json_text_at(json_array_get(single, j), "valueFrom.configMapKeyRef.name"));
    }
    for (size_t i = 0; i < json_array_size(volumes) && i < REFERENCES_MAX; i++) {
        const json_t *sources = json_at(json_array_get(volumes, i), "projected.sources");
        config_edge(self, json_text_at(json_array_get(volumes, i), "configMap.name"));
        for (size_t j = 0; j < json_array_size(sources) && j < REFERENCES_MAX; j++)
            config_edge(self, json_text_at(json_array_get(sources, j), "configMap.name"));
    }
}

static status_code workload_read(reading *self, failure *why) {
    self->pod = json_at(self->root, "spec.template");
    if (!json_is_object(self->pod))
        return fail_field(why, "spec.template", "BAD_OBJECT", "%s %s/%s has no pod template", self->kind,
                          self->space, self->name);
    environment_read(self);
    status_code code = service_read(self, why);
    if (code != STATUS_OK)
        return code;
    size_t node = statements_node(self->what, NODE_SERVICE, self->service, PROVENANCE_OBSERVED);
    statements_made(self->what, node, "workload",
                    arena_format(self->memory, "%s %s/%s", self->kind, self->space, self->name));
    json_attribute(self->what, node, "replicas", json_at(self->root, "spec.replicas"));
    statements_attribute(self->what, node, "cluster",
                         self->place->cluster[0] != '\0' ? self->place->cluster : NULL);
    marks_put(self, node);
    configs_put(self);
    return deploy_put(self, why);
}

/* ---- Services of Kubernetes: the address of one of ours */

static status_code address_read(reading *self, failure *why) {
    static const char *const selectors[] = {"app.kubernetes.io/name", "app", NULL};
    const json_t *selector = json_at(self->root, "spec.selector");
    const char *given = NULL;
    environment_read(self);
    for (const char *const *key = selectors; *key != NULL && given == NULL; key++)
        given = member_text(selector, *key);
    if (!name_make(self, NODE_SERVICE, self->space, given != NULL ? given : self->name, self->service))
        return bad_name(self, why);
    size_t node = statements_node(self->what, NODE_SERVICE, self->service, PROVENANCE_OBSERVED);
    statements_made(self->what, node, "address",
                    arena_format(self->memory, "%s.%s.svc", self->name, self->space));
    statements_attribute(self->what, node, "address_type", json_text_at(self->root, "spec.type"));
    statements_attribute(self->what, node, "external_name", json_text_at(self->root, "spec.externalName"));
    marks_put(self, node);
    return STATUS_OK;
}

/* ---- Configuration */

static status_code config_read(reading *self, failure *why) {
    char name[LIMIT_NAME_BYTES];
    const char *key = NULL;
    json_t *value = NULL;
    bool hidden = strcmp(self->kind, "Secret") == 0;
    bool any_hidden = hidden;
    environment_read(self);
    if (!name_make(self, NODE_KIND(CONFIG), self->space, self->name, name))
        return bad_name(self, why);
    size_t node = statements_node(self->what, NODE_KIND(CONFIG), name, PROVENANCE_OBSERVED);
    statements_attribute(self->what, node, "object", self->kind);
    json_object_foreach(json_object_get(self->root, "data"), key, value) {
        const char *attribute = arena_format(self->memory, "data.%s", key);
        bool secret = hidden || statement_key_is_secret(key);
        any_hidden = any_hidden || secret;
        if (secret)
            statements_attribute(self->what, node, attribute, "(hidden)");
        else
            json_attribute(self->what, node, attribute, value);
    }
    json_object_foreach(json_object_get(self->root, "binaryData"), key, value) {
        const char *attribute = arena_format(self->memory, "data.%s", key);
        if (json_is_string(value) && !hidden)
            statements_digest(self->what, node, attribute, bytes_of_text(json_string_value(value)));
    }
    /* That a hidden value has changed shows in the object's revision alone. */
    if (any_hidden)
        statements_attribute(self->what, node, "revision", json_text_at(self->metadata, "resourceVersion"));
    return STATUS_OK;
}

/* ---- Network policies */

static status_code policy_read(reading *self, failure *why) {
    static const char *const labels[] = {"app.kubernetes.io/name", "app", NULL};
    const json_t *selected = json_at(self->root, "spec.podSelector.matchLabels");
    char name[LIMIT_NAME_BYTES];
    environment_read(self);
    if (!name_make(self, NODE_KIND(ZONE), self->space, self->name, name))
        return bad_name(self, why);
    size_t node = statements_node(self->what, NODE_KIND(ZONE), name, PROVENANCE_DECLARED);
    statements_attribute(self->what, node, "object", "NetworkPolicy");
    json_attribute(self->what, node, "selects", json_at(self->root, "spec.podSelector"));
    json_attribute(self->what, node, "isolates", json_at(self->root, "spec.policyTypes"));
    json_attribute(self->what, node, "allow_ingress", json_at(self->root, "spec.ingress"));
    json_attribute(self->what, node, "allow_egress", json_at(self->root, "spec.egress"));
    for (const char *const *key = labels; *key != NULL; key++) {
        const char *label = member_text(selected, *key);
        if (label == NULL || !name_make(self, NODE_SERVICE, self->space, label, self->service))
            continue;
        (void)statements_edge(self->what, EDGE_KIND(IN_ZONE), self->service, name, PROVENANCE_DECLARED);
        break;
    }
    return STATUS_OK;
}

/* ---- When */

/* The last time that anything but the status was written; managedFields are there with --show-managed-fields.
 */
static bool written_at(const reading *self, int64_t *out) {
    const json_t *entries = json_object_get(self->metadata, "managedFields");
    bool found = false;
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *entry = json_array_get(entries, i);
        const char *time = json_text_at(entry, "time");
        const char *part = json_text_at(entry, "subresource");
        int64_t ms = 0;
        if (time == NULL || (part != NULL && part[0] != '\0') || !instant_parse(time, &ms))
            continue;
        *out = !found || ms > *out ? ms : *out;
        found = true;
    }
    return found;
}

static status_code time_read(const reading *self, bool deleted, int64_t now_ms, object_result *out,
                             failure *why) {
    const char *created = json_text_at(self->metadata, "creationTimestamp");
    const char *removed = json_text_at(self->metadata, "deletionTimestamp");
    int64_t *at = &out->change.from_ms;
    *at = now_ms;
    out->since_creation = false;
    if (deleted && removed != NULL && instant_parse(removed, at) && *at > now_ms)
        *at = now_ms; /* the end of its grace period */
    if (!deleted && !written_at(self, at))
        out->since_creation = created == NULL || !instant_parse(created, at) ||
                              json_integer_value(json_at(self->metadata, "generation")) != 1;
    if (*at > now_ms + LIMIT_CLOCK_SKEW_MS)
        return fail(why, STATUS_INVALID_ARGUMENT, "FROM_THE_FUTURE",
                    "%s was written more than %d s ahead of this machine's clock; look at the clocks of both",
                    out->item, LIMIT_CLOCK_SKEW_MS / 1000);
    return STATUS_OK;
}

/* ---- All */

static const struct {
    const char *kind, *version; /* what apiVersion begins with */
    status_code (*read)(reading *self, failure *why);
} kinds[] = {
    {"Deployment", "apps/", workload_read},
    {"StatefulSet", "apps/", workload_read},
    {"DaemonSet", "apps/", workload_read},
    {"Service", "v1", address_read},
    {"ConfigMap", "v1", config_read},
    {"Secret", "v1", config_read},
    {"NetworkPolicy", "networking.k8s.io/", policy_read},
};

/* Put into every namespace by Kubernetes itself. */
static bool is_machinery(const reading *self) {
    return strcmp(self->kind, "ConfigMap") == 0 && (strcmp(self->name, "kube-root-ca.crt") == 0 ||
                                                    strcmp(self->name, "openshift-service-ca.crt") == 0);
}

static status_code read_kind(reading *self, bool deleted, object_result *out, failure *why) {
    const char *version = json_text_at(self->root, "apiVersion");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].kind, self->kind) == 0 && version != NULL &&
            strncmp(kinds[i].version, version, strlen(kinds[i].version)) == 0) {
            out->ignored = is_machinery(self);
            return deleted || out->ignored ? STATUS_OK : kinds[i].read(self, why);
        }
    out->ignored = true;
    return STATUS_OK;
}

static status_code head_read(reading *self, object_result *out, failure *why) {
    self->metadata = json_object_get(self->root, "metadata");
    self->kind = json_text_at(self->root, "kind");
    self->name = json_text_at(self->metadata, "name");
    self->space = json_text_at(self->metadata, "namespace");
    if (self->space == NULL || self->space[0] == '\0')
        self->space = "default";
    if (self->kind == NULL || self->name == NULL || self->name[0] == '\0')
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_OBJECT",
                    "it is no object of Kubernetes: kind or metadata.name is missing");
    snprintf(out->item, sizeof out->item, "%.60s/%.60s/%.70s", self->kind, self->space, self->name);
    return STATUS_OK;
}

/* Revisions are numbers that grow: with leading zeros they are in order as texts. */
static const char *tie_make(const reading *self, const char *revision) {
    size_t size = strlen(revision);
    if (size >= REVISION_DIGITS || strspn(revision, "0123456789") != size)
        return arena_text(self->memory, revision);
    return arena_format(self->memory, "%.*s%s", (int)(REVISION_DIGITS - size), "00000000000000000000",
                        revision);
}

static status_code change_make(const reading *self, object_result *out, failure *why) {
    const char *revision = json_text_at(self->metadata, "resourceVersion");
    status_code code = statements_finish(self->what, why);
    out->change.what = *self->what;
    out->change.role = CHANGE_WHOLE;
    out->change.only_news = true;
    out->change.lane = arena_format(self->memory, "kubernetes/%s/%s/%s/%s", self->place->cluster, self->kind,
                                    self->space, self->name);
    out->change.origin = arena_format(self->memory, "kubernetes:%s", self->kind);
    out->change.tie = tie_make(self, revision != NULL ? revision : "");
    if (code == STATUS_OK &&
        (out->change.lane == NULL || out->change.origin == NULL || out->change.tie == NULL))
        code = fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for an object");
    if (code == STATUS_OK && (strlen(out->change.lane) >= CHANGE_LANE_BYTES || strlen(out->change.tie) > 64))
        code = fail(why, STATUS_INVALID_ARGUMENT, "BAD_OBJECT", "%s has a name or revision that is too long",
                    out->item);
    return code;
}

/* `kubectl get --watch --output-watch-events` wraps each object into what befell it. */
static void watch_unwrap(reading *self, bool *deleted) {
    const json_t *object = json_object_get(self->root, "object");
    const char *type = json_text_at(self->root, "type");
    if (!json_is_object(object) || type == NULL || json_object_get(self->root, "kind") != NULL)
        return;
    *deleted = *deleted || strcmp(type, "DELETED") == 0;
    self->root = object;
}

static status_code root_read(reading *self, bool deleted, int64_t now_ms, object_result *out, failure *why) {
    watch_unwrap(self, &deleted);
    out->deleted = deleted;
    status_code code = head_read(self, out, why);
    if (code == STATUS_OK)
        code = read_kind(self, deleted, out, why);
    if (code != STATUS_OK || out->ignored)
        return code;
    code = time_read(self, deleted, now_ms, out, why);
    return code == STATUS_OK ? change_make(self, out, why) : code;
}

status_code object_read(bytes json, bool deleted, const object_place *place, int64_t now_ms, arena *memory,
                        object_result *out, failure *why) {
    statements what;
    json_t *root = NULL;
    *out = (object_result){.item = "?"};
    if (json.size > OBJECT_BYTES)
        return fail(why, STATUS_INVALID_ARGUMENT, "TOO_LARGE", "an object of %zu bytes; at most %u",
                    json.size, OBJECT_BYTES);
    status_code code = json_fields_parse(json, &root, why);
    if (code != STATUS_OK)
        return code;
    statements_begin(&what, memory);
    reading self = {.place = place, .root = root, .memory = memory, .what = &what};
    code = root_read(&self, deleted, now_ms, out, why);
    json_decref(root);
    return code;
}
