/* Reading CloudEvents as changes and incidents. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "backtest.h"
#include "base/instant.h"

#define NAMES_MAX BACKTEST_TARGETS_MAX

typedef struct event_reading {
    backtest *into;
    const char *file;
    uint64_t line; /* where the event begins */
    const json_t *event, *data;
    const char *subject;
    int64_t time_ms;
    failure *why;
} event_reading;

void backtest_init(backtest *self, arena *memory) {
    *self = (backtest){.memory = memory};
}

static status_code refuse(const event_reading *self, const char *what) {
    return fail(self->why, STATUS_INVALID_ARGUMENT, "BAD_EVENT", "%.200s:%llu: %s", self->file,
                (unsigned long long)self->line, what);
}

static status_code no_memory(const event_reading *self) {
    return fail(self->why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the events of %.200s",
                self->file);
}

static const char *copy(const event_reading *self, const char *text) {
    return arena_text(self->into->memory, text != NULL ? text : "");
}

static const char *data_text(const event_reading *self, const char *key) {
    const char *text = json_string_value(json_object_get(self->data, key));
    return text != NULL ? text : "";
}

static void *grown(arena *memory, void *items, size_t count, size_t *room, size_t size) {
    if (count < *room)
        return items;
    size_t wider = *room == 0 ? 256 : 2 * *room;
    char *made = arena_alloc(memory, wider * size);
    if (made == NULL)
        return NULL;
    if (count > 0)
        memcpy(made, items, count * size);
    memset(made + count * size, 0, (wider - count) * size);
    *room = wider;
    return made;
}

/* ---- names ---- */

typedef struct name_list {
    const char *items[NAMES_MAX];
    size_t count;
} name_list;

static status_code name_add(const event_reading *self, const json_t *name, name_list *out) {
    const char *text = json_string_value(name);
    if (text == NULL || text[0] == '\0')
        return refuse(self, "a name is no text");
    for (size_t i = 0; i < out->count; i++)
        if (strcmp(out->items[i], text) == 0)
            return STATUS_OK;
    if (out->count == NAMES_MAX)
        return refuse(self, "more than 64 names");
    out->items[out->count++] = text;
    return STATUS_OK;
}

/* One name or a list of them. */
static status_code names_read(const event_reading *self, const char *key, name_list *out) {
    const json_t *value = json_object_get(self->data, key);
    if (value == NULL || json_is_null(value))
        return STATUS_OK;
    if (json_is_string(value))
        return name_add(self, value, out);
    if (!json_is_array(value))
        return refuse(self, "names are a text or a list of texts");
    for (size_t i = 0; i < json_array_size(value); i++) {
        status_code code = name_add(self, json_array_get(value, i), out);
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

static status_code names_copy(const event_reading *self, const name_list *names, const char ***out,
                              size_t *count) {
    const char **made = arena_zero(self->into->memory, names->count + 1, sizeof *made);
    bool whole = made != NULL;
    for (size_t i = 0; whole && i < names->count; i++) {
        made[i] = copy(self, names->items[i]);
        whole = made[i] != NULL;
    }
    if (!whole)
        return no_memory(self);
    *out = made;
    *count = names->count;
    return STATUS_OK;
}

/* ---- changes ---- */

static bool is_node(const char *text, const char *kind) {
    size_t size = strlen(kind);
    return strncmp(text, kind, size) == 0 && text[size] == ':';
}

static status_code fill_services(const event_reading *self, backtest_change *out) {
    name_list names = {.count = 0};
    status_code code = names_read(self, "services", &names);
    if (code != STATUS_OK)
        return code;
    if (is_node(self->subject, "service") && names.count < NAMES_MAX) {
        json_t *subject = json_string(self->subject);
        code = subject != NULL ? name_add(self, subject, &names) : no_memory(self);
        if (code == STATUS_OK)
            code = names_copy(self, &names, &out->services, &out->service_count);
        json_decref(subject);
        return code;
    }
    /* A configuration whose services nobody states is itself the target. */
    if (names.count == 0 && out->node[0] != '\0' && !is_node(out->node, "deploy"))
        names.items[names.count++] = out->node;
    if (names.count == 0)
        return refuse(self, "whose change it is: neither data.services nor subject says");
    return names_copy(self, &names, &out->services, &out->service_count);
}

static status_code fill_targets(const event_reading *self, backtest_change *out) {
    policy_target *targets = arena_zero(self->into->memory, out->service_count, sizeof *targets);
    if (targets == NULL)
        return no_memory(self);
    for (size_t i = 0; i < out->service_count; i++)
        targets[i].name = out->services[i];
    out->facts.targets = targets;
    out->facts.target_count = out->service_count;
    return STATUS_OK;
}

/* "key" and "value" of a setting, "version" of a deploy: what an agent would have stated as arguments. */
static status_code fill_arguments(const event_reading *self, backtest_change *out) {
    static const char *const keys[] = {"commit", "image", "key", "value", "variant", "version"};
    policy_pair *pairs = arena_zero(self->into->memory, sizeof keys / sizeof *keys, sizeof *pairs);
    size_t count = 0;
    if (pairs == NULL)
        return no_memory(self);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *text = data_text(self, keys[i]);
        if (text[0] == '\0')
            continue;
        pairs[count] = (policy_pair){.name = keys[i], .value = copy(self, text)};
        if (pairs[count++].value == NULL)
            return no_memory(self);
    }
    out->facts.action.arguments = pairs;
    out->facts.action.argument_count = count;
    return STATUS_OK;
}

static status_code fill_action(const event_reading *self, backtest_change *out) {
    policy_action_facts *action = &out->facts.action;
    const char *diff = data_text(self, "diff");
    action->id = out->id;
    action->verb = out->verb;
    action->intent = out->title;
    action->actor_kind = "agent";
    action->percent = json_number_value(json_object_get(self->data, "percent"));
    /* Whoever knows what was there before can put it back. */
    action->reversal_verb = data_text(self, "previous_version")[0] != '\0' ? "rollback" : "";
    if (diff[0] != '\0') {
        action->change_kind = "diff";
        action->change = copy(self, diff);
        if (action->change == NULL)
            return no_memory(self);
    }
    return fill_arguments(self, out);
}

/* The node that stands for the change: what the event says, its subject, or the deploy as the graph calls it.
 */
static const char *node_of(const event_reading *self, const char *verb, const char *id) {
    const char *name = data_text(self, "name"), *version = data_text(self, "version");
    if (name[0] != '\0' || !is_node(self->subject, "service"))
        return copy(self, name[0] != '\0' ? name : self->subject);
    if (strcmp(verb, "deploy") != 0)
        return "";
    return arena_format(self->into->memory, "deploy%s.%s", strchr(self->subject, ':'),
                        version[0] != '\0' ? version : id);
}

static status_code change_read(event_reading *self, const char *verb) {
    backtest *into = self->into;
    if (into->change_count == BACKTEST_EVENTS_MAX)
        return refuse(self, "more than 1000000 changes; give fewer files");
    backtest_change *items =
        grown(into->memory, into->changes, into->change_count, &into->change_room, sizeof *items);
    if (items == NULL)
        return no_memory(self);
    into->changes = items;
    backtest_change *out = &items[into->change_count];
    const char *stated = data_text(self, "verb");
    *out = (backtest_change){.time_ms = self->time_ms};
    out->id = copy(self, json_string_value(json_object_get(self->event, "id")));
    out->node = out->id != NULL ? node_of(self, verb, out->id) : NULL;
    out->title = copy(self, data_text(self, "title")[0] != '\0' ? data_text(self, "title")
                                                                : data_text(self, "summary"));
    out->verb = copy(self, stated[0] != '\0' ? stated : verb);
    out->version = copy(self, data_text(self, "version"));
    if (out->id == NULL || out->node == NULL || out->title == NULL || out->verb == NULL ||
        out->version == NULL)
        return no_memory(self);
    status_code code = fill_services(self, out);
    if (code == STATUS_OK)
        code = fill_targets(self, out);
    if (code == STATUS_OK)
        code = fill_action(self, out);
    out->facts.now_ms = out->time_ms;
    into->change_count += code == STATUS_OK;
    return code;
}

/* ---- incidents ---- */

/* An incident is opened once; later events about it add to what is known. */
static backtest_incident *incident_of(event_reading *self, const char *name) {
    backtest *into = self->into;
    for (size_t i = into->incident_count; i > 0; i--)
        if (strcmp(into->incidents[i - 1].name, name) == 0)
            return &into->incidents[i - 1];
    backtest_incident *items =
        grown(into->memory, into->incidents, into->incident_count, &into->incident_room, sizeof *items);
    if (items == NULL)
        return NULL;
    into->incidents = items;
    backtest_incident *added = &items[into->incident_count];
    *added = (backtest_incident){.name = copy(self, name),
                                 .title = "",
                                 .severity = "",
                                 .opened_ms = self->time_ms,
                                 .cause = BACKTEST_NONE};
    if (added->name == NULL)
        return NULL;
    into->incident_count++;
    return added;
}

static status_code text_kept(const event_reading *self, const char *key, const char **out) {
    const char *text = data_text(self, key);
    if (text[0] != '\0')
        *out = copy(self, text);
    return *out != NULL ? STATUS_OK : no_memory(self);
}

static status_code names_kept(const event_reading *self, const char *key, const char ***out, size_t *count) {
    name_list names = {.count = 0};
    status_code code = names_read(self, key, &names);
    return code == STATUS_OK && names.count > 0 ? names_copy(self, &names, out, count) : code;
}

static status_code incident_read(event_reading *self, const char *step) {
    const char *stated = data_text(self, "name");
    const char *name = stated[0] != '\0' ? stated : self->subject;
    if (!is_node(name, "incident"))
        return refuse(self, "neither data.name nor subject is incident:environment/namespace/name");
    if (self->into->incident_count == BACKTEST_INCIDENTS_MAX)
        return refuse(self, "more than 20000 incidents; give fewer files");
    backtest_incident *out = incident_of(self, name);
    if (out == NULL)
        return no_memory(self);
    if (strcmp(step, "resolved") == 0)
        out->resolved_ms = self->time_ms;
    if (strcmp(step, "opened") == 0)
        out->opened_ms = self->time_ms;
    status_code code = text_kept(self, "title", &out->title);
    if (code == STATUS_OK)
        code = text_kept(self, "severity", &out->severity);
    if (code == STATUS_OK)
        code = names_kept(self, "affected", &out->affected, &out->affected_count);
    if (code == STATUS_OK)
        code = names_kept(self, "caused_by", &out->caused_by, &out->caused_by_count);
    return code;
}

/* ---- all ---- */

static status_code event_dispatch(event_reading *self, const char *type) {
    static const struct {
        const char *type, *verb, *step;
    } types[] = {{"interlock.deploy", "deploy", NULL},
                 {"interlock.config", "config.set", NULL},
                 {"interlock.flag", "flag.set", NULL},
                 {"interlock.incident.opened", NULL, "opened"},
                 {"interlock.incident.updated", NULL, "updated"},
                 {"interlock.incident.resolved", NULL, "resolved"}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].type, type) == 0)
            return types[i].verb != NULL ? change_read(self, types[i].verb)
                                         : incident_read(self, types[i].step);
    self->into->ignored++;
    return STATUS_OK;
}

static status_code event_read(event_reading *self) {
    if (!json_is_object(self->event))
        return refuse(self, "this is no CloudEvent: a JSON object with specversion, id, type, time and data");
    const char *version = json_string_value(json_object_get(self->event, "specversion"));
    const char *type = json_string_value(json_object_get(self->event, "type"));
    const char *id = json_string_value(json_object_get(self->event, "id"));
    const char *time = json_string_value(json_object_get(self->event, "time"));
    const char *subject = json_string_value(json_object_get(self->event, "subject"));
    if (version == NULL || strcmp(version, "1.0") != 0)
        return refuse(self, "specversion is not \"1.0\"");
    if (type == NULL || id == NULL || id[0] == '\0')
        return refuse(self, "it has no type, or no id");
    if (time == NULL || !instant_parse(time, &self->time_ms))
        return refuse(self, "time is not RFC 3339, as 2026-11-22T19:30:00Z");
    self->subject = subject != NULL ? subject : "";
    self->data = json_object_get(self->event, "data");
    if (self->data != NULL && !json_is_object(self->data))
        return refuse(self, "data is no JSON object");
    return event_dispatch(self, type);
}

static uint64_t lines_in(const uint8_t *from, size_t size) {
    uint64_t lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += from[i] == '\n';
    return lines;
}

static size_t skip_blank(bytes text, size_t at) {
    while (at < text.size && strchr(" \t\r\n", text.data[at]) != NULL && text.data[at] != '\0')
        at++;
    return at;
}

static status_code read_value(event_reading *self, const json_t *value) {
    if (!json_is_array(value)) {
        self->event = value;
        return event_read(self);
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        self->event = json_array_get(value, i);
        status_code code = event_read(self);
        if (code != STATUS_OK)
            return fail_within(self->why, code, "element %zu of the array", i);
    }
    return STATUS_OK;
}

status_code backtest_read(backtest *self, const char *file, bytes text, failure *why) {
    event_reading work = {.into = self, .file = file, .line = 1, .why = why};
    size_t at = 0;
    for (;;) {
        json_error_t error;
        size_t begin = skip_blank(text, at);
        work.line += lines_in(text.data + at, begin - at);
        if (begin >= text.size)
            return STATUS_OK;
        json_t *value = json_loadb((const char *)text.data + begin, text.size - begin,
                                   JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &error);
        if (value == NULL)
            return fail(why, STATUS_INVALID_ARGUMENT, "BAD_EVENT", "%.200s:%llu:%d: %s", file,
                        (unsigned long long)work.line + (unsigned)(error.line > 0 ? error.line - 1 : 0),
                        error.column, error.text);
        status_code code = read_value(&work, value);
        json_decref(value);
        if (code != STATUS_OK)
            return code;
        at = begin + (size_t)error.position;
        work.line += lines_in(text.data + begin, (size_t)error.position);
    }
}
