/* Reading CloudEvents. An event says what happened to what; here it becomes the state of a lane. */
#include "events.h"

#include <stdio.h>
#include <string.h>

#include "base/instant.h"
#include "json_fields.h"

#define ORIGIN "cloudevents"
#define DIFF_BYTES 1000U
#define TARGETS_MAX CHANGES_OF_ITEM_MAX
#define ID_BYTES 256U
#define VERSION_BYTES 128U
#define EARLIEST_MS 946684800000 /* the year 2000: before it, a clock that was never set */

typedef Io__Cloudevents__V1__CloudEvent__CloudEventAttributeValue attribute_value;

typedef struct reading {
    const cloud_event *event;
    const char *subject; /* "" when there is none */
    int64_t time_ms;
    json_t *data;
    arena *memory;
    change_list *out;
} reading;

/* ---- Attributes of CloudEvents */

static const attribute_value *attribute_of(const cloud_event *event, const char *name) {
    for (size_t i = 0; i < event->n_attributes; i++)
        if (event->attributes[i]->value != NULL && strcmp(event->attributes[i]->key, name) == 0)
            return event->attributes[i]->value;
    return NULL;
}

static const char *attribute_text(const cloud_event *event, const char *name) {
    const attribute_value *value = attribute_of(event, name);
    if (value == NULL)
        return "";
    switch (value->attr_case) {
    case IO__CLOUDEVENTS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_STRING:
        return value->ce_string;
    case IO__CLOUDEVENTS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_URI:
        return value->ce_uri;
    case IO__CLOUDEVENTS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_URI_REF:
        return value->ce_uri_ref;
    default:
        return "";
    }
}

static status_code time_read(reading *self, int64_t now_ms, failure *why) {
    const attribute_value *value = attribute_of(self->event, "time");
    const char *text = attribute_text(self->event, "time");
    self->time_ms = now_ms;
    if (value != NULL &&
        value->attr_case ==
            IO__CLOUDEVENTS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_TIMESTAMP) {
        int64_t seconds = value->ce_timestamp->seconds;
        self->time_ms = seconds < 0 || seconds > INT64_MAX / 1000 - 1
                            ? INT64_MAX
                            : seconds * 1000 + value->ce_timestamp->nanos / 1000000;
    } else if (value != NULL && !instant_parse(text, &self->time_ms)) {
        return fail_field(why, "time", "BAD_EVENT", "its time is not RFC 3339: \"%.40s\"", text);
    }
    if (self->time_ms > now_ms + LIMIT_CLOCK_SKEW_MS)
        return fail_field(
            why, "time", "FROM_THE_FUTURE",
            "its time is more than %d s ahead of this machine's clock; look at the clocks of both",
            LIMIT_CLOCK_SKEW_MS / 1000);
    if (self->time_ms < EARLIEST_MS)
        return fail_field(why, "time", "BAD_EVENT", "its time lies before the year 2000");
    return STATUS_OK;
}

static status_code identity_check(const cloud_event *event, failure *why) {
    if (strcmp(event->spec_version, "1.0") != 0)
        return fail_field(why, "specversion", "BAD_EVENT", "specversion is \"%.20s\"; 1.0 is understood",
                          event->spec_version);
    if (event->id[0] == '\0' || strnlen(event->id, ID_BYTES) == ID_BYTES)
        return fail_field(why, "id", "BAD_EVENT", "id is empty or longer than %u bytes", ID_BYTES - 1);
    if (event->source[0] == '\0' || strnlen(event->source, ID_BYTES) == ID_BYTES)
        return fail_field(why, "source", "BAD_EVENT", "source is empty or longer than %u bytes",
                          ID_BYTES - 1);
    return STATUS_OK;
}

static status_code data_read(reading *self, failure *why) {
    const cloud_event *event = self->event;
    bytes text = {0};
    if (event->data_case == IO__CLOUDEVENTS__V1__CLOUD_EVENT__DATA_TEXT_DATA)
        text = bytes_of_text(event->text_data);
    else if (event->data_case == IO__CLOUDEVENTS__V1__CLOUD_EVENT__DATA_BINARY_DATA)
        text = bytes_of(event->binary_data.data, event->binary_data.len);
    else
        return fail_field(why, "data", "BAD_DATA", "it has no data in JSON");
    if (text.size > EVENT_DATA_BYTES)
        return fail_field(why, "data", "BAD_DATA", "%zu bytes of data; at most %u", text.size,
                          EVENT_DATA_BYTES);
    failure inner = {0};
    if (json_fields_parse(text, &self->data, &inner) != STATUS_OK)
        return fail_field(why, "data", "BAD_DATA", "%.300s", inner.message);
    return STATUS_OK;
}

/* ---- Fields of the data */

/* NULL where it is not there; a field that is something else than text is refused. */
static status_code text_field(const reading *self, const char *key, size_t most, const char **out,
                              failure *why) {
    const json_t *value = json_object_get(self->data, key);
    *out = NULL;
    if (value == NULL || json_is_null(value))
        return STATUS_OK;
    char path[96];
    snprintf(path, sizeof path, "data.%s", key);
    if (!json_is_string(value) || json_string_length(value) == 0 || json_string_length(value) > most)
        return fail_field(why, path, "BAD_DATA", "%s is not a text of 1 to %zu bytes", path, most);
    *out = json_string_value(value);
    return STATUS_OK;
}

typedef struct targets {
    const char *names[TARGETS_MAX];
    size_t count;
} targets;

static status_code target_add(targets *out, const char *name, failure *why) {
    name_parts parts;
    status_code code = name_parse(name, &parts, why);
    if (code != STATUS_OK)
        return code;
    if (out->count == TARGETS_MAX)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_DATA", "more than %u names", TARGETS_MAX);
    for (size_t i = 0; i < out->count; i++)
        if (strcmp(out->names[i], name) == 0)
            return STATUS_OK;
    out->names[out->count++] = name;
    return STATUS_OK;
}

/* A list of node names, or one. */
static status_code names_field(const reading *self, const char *key, targets *out, failure *why) {
    const json_t *value = json_object_get(self->data, key);
    status_code code = STATUS_OK;
    if (json_is_string(value))
        return target_add(out, json_string_value(value), why);
    if (value != NULL && !json_is_null(value) && !json_is_array(value))
        return fail_field(why, key, "BAD_DATA", "data.%s is not a list of node names", key);
    for (size_t i = 0; i < json_array_size(value) && code == STATUS_OK; i++) {
        const char *name = json_string_value(json_array_get(value, i));
        code = name != NULL ? target_add(out, name, why)
                            : fail_field(why, key, "BAD_DATA", "data.%s[%zu] is no text", key, i);
    }
    return code == STATUS_OK ? code : fail_within(why, code, "data.%s", key);
}

static bool name_is(const char *name, node_kind kind) {
    name_parts parts;
    return name_parse(name, &parts, NULL) == STATUS_OK && parts.kind == kind;
}

/* The services a change touches: data.services, and the subject when it names one. */
static status_code services_read(const reading *self, targets *out, failure *why) {
    status_code code = names_field(self, "services", out, why);
    if (code == STATUS_OK && strncmp(self->subject, "service:", 8) == 0)
        code = target_add(out, self->subject, why);
    return code;
}

/* "kind:environment/namespace/" of another name with another last segment. */
static status_code name_beside(const reading *self, const char *other, node_kind kind, const char *last,
                               const char **out, failure *why) {
    name_parts parts;
    char escaped[LIMIT_NAME_BYTES];
    char name[2 * LIMIT_NAME_BYTES];
    bytes plain = bytes_of_text("x");
    status_code code = name_parse(other, &parts, why);
    if (code != STATUS_OK)
        return code;
    if (!name_build(kind, plain, plain, bytes_of_text(last), escaped))
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_NAME", "\"%.100s\" is too long for a name", last);
    int size = snprintf(name, sizeof name, "%s:%.*s/%.*s/%s", name_kind_word(kind),
                        (int)parts.environment.size, (const char *)parts.environment.data,
                        (int)parts.space.size, (const char *)parts.space.data, strrchr(escaped, '/') + 1);
    if (size >= (int)LIMIT_NAME_BYTES)
        return fail(why, STATUS_INVALID_ARGUMENT, "BAD_NAME", "\"%.100s\" is too long for a name", last);
    *out = arena_text(self->memory, name);
    return *out != NULL ? STATUS_OK
                        : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the event");
}

/* The last segment of a name, unescaped as far as it is plain. */
static const char *last_segment(const char *name) {
    return strrchr(name, '/') + 1;
}

/* ---- Statements */

static const char *const plain_fields[] = {"version",  "previous_version", "commit",  "image",    "status",
                                           "diff_url", "action_id",        "title",   "severity", "url",
                                           "summary",  "percent",          "enabled", "variant",  "reason",
                                           "actor",    "incident",         NULL};

/* What the event says in so many words, and which event said it. */
static void fields_put(const reading *self, statements *what, size_t index) {
    statements_attribute(what, index, "event", self->event->id);
    statements_attribute(what, index, "event_source", self->event->source);
    for (const char *const *key = plain_fields; *key != NULL; key++)
        json_attribute(what, index, *key, json_object_get(self->data, *key));
    const char *diff = json_string_value(json_object_get(self->data, "diff"));
    if (diff == NULL)
        return;
    size_t size = strlen(diff);
    size_t kept = size > DIFF_BYTES ? DIFF_BYTES : size;
    while (kept < size && kept > 0 && ((uint8_t)diff[kept] & 0xc0) == 0x80)
        kept--; /* not inside a character */
    statements_made(what, index, "diff", arena_format(self->memory, "%.*s", (int)kept, diff));
    if (kept < size)
        statements_digest(what, index, "diff_whole", bytes_of(diff, size));
}

static status_code put(reading *self, const char *lane_of, const char *lane_name, change_role role,
                       statements *what, failure *why) {
    change *item = &self->out->items[self->out->count];
    const char *lane = arena_format(self->memory, "%s/%s", lane_of, lane_name);
    const char *tie = arena_format(self->memory, "%s %s", self->event->source, self->event->id);
    status_code code = statements_finish(what, why);
    if (code != STATUS_OK)
        return code;
    if (lane == NULL || tie == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the event");
    *item = (change){
        .lane = lane, .origin = ORIGIN, .from_ms = self->time_ms, .tie = tie, .role = role, .what = *what};
    self->out->count++;
    return STATUS_OK;
}

/* ---- Deploys */

static status_code deploy_name(const reading *self, const char *service, const char *version,
                               const char **out, failure *why) {
    const char *given = NULL;
    status_code code = text_field(self, "name", LIMIT_NAME_BYTES - 1, &given, why);
    if (code == STATUS_OK && given != NULL) {
        if (!name_is(given, NODE_KIND(DEPLOY)))
            return fail_field(why, "data.name", "BAD_NAME",
                              "data.name is not deploy:environment/namespace/name");
        *out = given;
        return STATUS_OK;
    }
    if (code != STATUS_OK)
        return code;
    const char *last = arena_format(self->memory, "%s.%s", last_segment(service), version);
    return name_beside(self, service, NODE_KIND(DEPLOY), last != NULL ? last : "", out, why);
}

static status_code deploy_put(reading *self, const char *service, const char *version, failure *why) {
    const char *name = NULL;
    statements what;
    status_code code = deploy_name(self, service, version, &name, why);
    if (code != STATUS_OK)
        return code;
    statements_begin(&what, self->memory);
    fields_put(self, &what, statements_node(&what, NODE_KIND(DEPLOY), name, PROVENANCE_OBSERVED));
    size_t edge = statements_edge(&what, EDGE_KIND(CHANGED_BY), service, name, PROVENANCE_OBSERVED);
    statements_attribute(&what, edge, "event", self->event->id);
    statements_attribute(&what, edge, "version", version);
    return put(self, "deploy", service, CHANGE_WHOLE, &what, why);
}

static status_code deploy_read(reading *self, failure *why) {
    const char *version = NULL;
    targets services = {.count = 0};
    status_code code = text_field(self, "version", VERSION_BYTES, &version, why);
    if (code == STATUS_OK)
        code = services_read(self, &services, why);
    if (code == STATUS_OK && services.count == 0)
        code = fail_field(why, "data.services", "BAD_DATA",
                          "whose deploy it is: neither data.services nor subject names a service");
    for (size_t i = 0; i < services.count && code == STATUS_OK; i++)
        code = deploy_put(self, services.names[i], version != NULL ? version : self->event->id, why);
    return code;
}

/* ---- Configuration and flags */

/* The node the event is about: data.name, or the subject. */
static status_code about(const reading *self, node_kind kind, const char **out, failure *why) {
    const char *given = NULL;
    status_code code = text_field(self, "name", LIMIT_NAME_BYTES - 1, &given, why);
    if (code != STATUS_OK)
        return code;
    if (given == NULL)
        given = self->subject;
    if (!name_is(given, kind))
        return fail_field(why, "data.name", "BAD_NAME",
                          "neither data.name nor subject is %s:environment/namespace/name",
                          name_kind_word(kind));
    *out = given;
    return STATUS_OK;
}

static void value_put(const reading *self, statements *what, size_t node, const char *key) {
    const json_t *value = json_object_get(self->data, "value");
    const char *name = arena_format(self->memory, "data.%s", key);
    if (json_is_true(json_object_get(self->data, "removed")))
        statements_attribute(what, node, name, "(removed)");
    else if (json_is_true(json_object_get(self->data, "secret")) || statement_key_is_secret(key))
        statements_attribute(what, node, name, "(hidden)");
    else
        json_attribute(what, node, name, value);
}

static status_code value_read(reading *self, node_kind kind, const char *lane, failure *why) {
    const char *name = NULL;
    const char *key = NULL;
    targets services = {.count = 0};
    statements what;
    status_code code = about(self, kind, &name, why);
    if (code == STATUS_OK)
        code = text_field(self, "key", STATEMENT_KEY_BYTES - 8, &key, why);
    if (code == STATUS_OK)
        code = services_read(self, &services, why);
    if (code != STATUS_OK)
        return code;
    statements_begin(&what, self->memory);
    size_t node = statements_node(&what, kind, name, PROVENANCE_OBSERVED);
    fields_put(self, &what, node);
    value_put(self, &what, node, key != NULL ? key : "value");
    for (size_t i = 0; i < services.count; i++) {
        size_t edge =
            statements_edge(&what, EDGE_KIND(CHANGED_BY), services.names[i], name, PROVENANCE_OBSERVED);
        statements_attribute(&what, edge, "event", self->event->id);
        statements_attribute(&what, edge, "key", key);
    }
    return put(self, lane, name, CHANGE_UPDATE, &what, why);
}

static status_code config_read(reading *self, failure *why) {
    return value_read(self, NODE_KIND(CONFIG), "config", why);
}

static status_code flag_read(reading *self, failure *why) {
    return value_read(self, NODE_KIND(FLAG), "flag", why);
}

/* ---- Incidents and alerts */

static status_code edges_put(const reading *self, statements *what, edge_kind kind, const char *from,
                             const char *key, failure *why) {
    targets nodes = {.count = 0};
    status_code code = names_field(self, key, &nodes, why);
    for (size_t i = 0; i < nodes.count && code == STATUS_OK; i++) {
        size_t edge = statements_edge(what, kind, from, nodes.names[i], PROVENANCE_OBSERVED);
        statements_attribute(what, edge, "event", self->event->id);
    }
    return code;
}

/* Causes that a postmortem names. Events' ids may stand there too: they are nobody's names and are let be. */
static void causes_put(const reading *self, statements *what, const char *incident) {
    const json_t *list = json_object_get(self->data, "caused_by");
    for (size_t i = 0; i < json_array_size(list) && i < TARGETS_MAX; i++) {
        name_parts parts;
        const char *name = json_string_value(json_array_get(list, i));
        if (name == NULL || name_parse(name, &parts, NULL) != STATUS_OK)
            continue;
        size_t edge = statements_edge(what, EDGE_KIND(CAUSED), name, incident, PROVENANCE_DECLARED);
        statements_attribute(what, edge, "event", self->event->id);
    }
}

static status_code incident_put(reading *self, const char *name, change_role role, const char *class,
                                failure *why) {
    statements what;
    statements_begin(&what, self->memory);
    size_t node = statements_node(&what, NODE_KIND(INCIDENT), name, PROVENANCE_OBSERVED);
    fields_put(self, &what, node);
    statements_attribute(&what, node, "class", class);
    if (role != CHANGE_UPDATE)
        statements_attribute(&what, node, "state", role == CHANGE_END ? "resolved" : "open");
    status_code code = STATUS_OK;
    if (role != CHANGE_END)
        code = edges_put(self, &what, EDGE_KIND(AFFECTED), name, "affected", why);
    if (code == STATUS_OK)
        code = edges_put(self, &what, EDGE_KIND(RESOLVED_BY), name, "resolved_by", why);
    causes_put(self, &what, name);
    return code == STATUS_OK ? put(self, "incident", name, role, &what, why) : code;
}

static status_code incident_read(reading *self, change_role role, failure *why) {
    const char *name = NULL;
    status_code code = about(self, NODE_KIND(INCIDENT), &name, why);
    return code == STATUS_OK ? incident_put(self, name, role, "incident", why) : code;
}

static status_code opened_read(reading *self, failure *why) {
    return incident_read(self, CHANGE_OPEN, why);
}

static status_code updated_read(reading *self, failure *why) {
    return incident_read(self, CHANGE_UPDATE, why);
}

static status_code resolved_read(reading *self, failure *why) {
    return incident_read(self, CHANGE_END, why);
}

/* An alert is a small incident of its own, named after the alert and the first node it is about. */
static status_code alert_read(reading *self, failure *why) {
    const char *alert = NULL;
    const char *status = NULL;
    const char *name = NULL;
    targets nodes = {.count = 0};
    status_code code = text_field(self, "alert", VERSION_BYTES, &alert, why);
    if (code == STATUS_OK)
        code = text_field(self, "status", VERSION_BYTES, &status, why);
    if (code == STATUS_OK)
        code = names_field(self, "affected", &nodes, why);
    if (code != STATUS_OK)
        return code;
    bool firing = status != NULL && strcmp(status, "firing") == 0;
    if (alert == NULL || nodes.count == 0)
        return fail_field(why, "data.alert", "BAD_DATA", "data.alert and data.affected are needed");
    if (!firing && (status == NULL || strcmp(status, "resolved") != 0))
        return fail_field(why, "data.status", "BAD_DATA", "data.status is firing or resolved");
    const char *last = arena_format(self->memory, "alert.%s.%s", alert, last_segment(nodes.names[0]));
    code = name_beside(self, nodes.names[0], NODE_KIND(INCIDENT), last != NULL ? last : "", &name, why);
    return code == STATUS_OK ? incident_put(self, name, firing ? CHANGE_OPEN : CHANGE_END, "alert", why)
                             : code;
}

/* ---- All */

static const struct {
    const char *type;
    status_code (*read)(reading *self, failure *why);
} types[] = {
    {"interlock.deploy", deploy_read},
    {"interlock.config", config_read},
    {"interlock.flag", flag_read},
    {"interlock.incident.opened", opened_read},
    {"interlock.incident.updated", updated_read},
    {"interlock.incident.resolved", resolved_read},
    {"interlock.alert", alert_read},
};

static status_code read_typed(reading *self, failure *why) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].type, self->event->type) == 0)
            return types[i].read(self, why);
    return fail_field(why, "type", "UNKNOWN_TYPE", "the graph knows no events of type \"%.80s\"",
                      self->event->type);
}

status_code event_read(const cloud_event *event, int64_t now_ms, arena *memory, change_list *out,
                       failure *why) {
    reading self = {.event = event, .memory = memory, .out = out};
    out->count = 0;
    status_code code = identity_check(event, why);
    if (code == STATUS_OK)
        code = time_read(&self, now_ms, why);
    self.subject = attribute_text(event, "subject");
    if (code == STATUS_OK)
        code = data_read(&self, why);
    if (code == STATUS_OK)
        code = read_typed(&self, why);
    json_decref(self.data);
    return code;
}
