/* Changes in the real history and store: what is taken, what is refused, and that a restart forgets nothing.
 */
#include "changes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#define NOW_MS 1795375490000

extern const char graph_schema_sql[];

typedef struct world {
    store file;
    history *past;
    changes *changes;
    arena memory; /* of requests and answers */
    uint64_t revision;
} world;

static failure why;

static void must(status_code code) {
    if (code != STATUS_OK)
        print_error("%s: %s\n", why.reason, why.message);
    assert_int_equal(code, STATUS_OK);
}

static void world_open(world *self) {
    static const history_limits limits = {0};
    *self = (world){0};
    arena_init(&self->memory, 4096, 64U << 20);
    must(store_open(&self->file, ":memory:", 1, graph_schema_sql, NULL, STORE_DURABLE, &why));
    must(history_open(&self->past, &self->file, ":memory:", &limits, chance_system(), &why));
    must(changes_open(&self->changes, self->past, &why));
    must(changes_load(self->changes, &self->file, &why));
}

static void world_close(world *self) {
    changes_close(self->changes);
    history_close(self->past);
    store_close(&self->file);
    arena_free(&self->memory);
}

static void save(world *self) {
    self->revision++;
    must(store_begin(&self->file, &why));
    must(history_put(self->past, self->revision, &why));
    must(changes_put(self->changes, &self->file, &why));
    must(store_commit(&self->file, &why));
    history_stored(self->past);
    changes_stored(self->changes);
    assert_false(changes_changed(self->changes));
}

/* What was in memory is gone; what was stored is read again. The history stays: it has tests of its own. */
static void restart(world *self) {
    changes_close(self->changes);
    must(changes_open(&self->changes, self->past, &why));
    must(changes_load(self->changes, &self->file, &why));
}

/* ---- Requests */

static events_response *deploy_send(world *self, const char *id, const char *deployed) {
    Io__Cloudevents__V1__CloudEvent *event = arena_alloc(&self->memory, sizeof *event);
    events_request request = INTERLOCK__GRAPH__V1__SEND_EVENTS_REQUEST__INIT;
    events_response *answer = arena_alloc(&self->memory, sizeof *answer);
    io__cloudevents__v1__cloud_event__init(event);
    interlock__graph__v1__send_events_response__init(answer);
    event->id = (char *)id;
    event->source = "/test";
    event->spec_version = "1.0";
    event->type = "interlock.deploy";
    event->data_case = IO__CLOUDEVENTS__V1__CLOUD_EVENT__DATA_TEXT_DATA;
    event->text_data =
        arena_format(&self->memory, "{\"services\":\"service:p/s/a\",\"version\":\"%s\"}", deployed);
    request.events = &event;
    request.n_events = 1;
    must(changes_take_events(self->changes, &request, NOW_MS, &self->memory, answer, &why));
    return answer;
}

static objects_response *object_send(world *self, const char *json) {
    Interlock__Graph__V1__KubernetesObject object = INTERLOCK__GRAPH__V1__KUBERNETES_OBJECT__INIT;
    Interlock__Graph__V1__KubernetesObject *list[] = {&object};
    objects_request request = INTERLOCK__GRAPH__V1__SEND_OBJECTS_REQUEST__INIT;
    objects_response *answer = arena_alloc(&self->memory, sizeof *answer);
    interlock__graph__v1__send_objects_response__init(answer);
    object.json = (char *)json;
    request.objects = list;
    request.n_objects = 1;
    must(changes_take_objects(self->changes, &request, NOW_MS, &self->memory, answer, &why));
    return answer;
}

static declarations_response *declare(world *self, const char *body, bool dry_run) {
    declarations_request request = INTERLOCK__GRAPH__V1__APPLY_DECLARATIONS_REQUEST__INIT;
    declarations_response *answer = arena_alloc(&self->memory, sizeof *answer);
    interlock__graph__v1__apply_declarations_response__init(answer);
    request.file = "f";
    request.dry_run = dry_run;
    request.document = arena_format(&self->memory,
                                    "apiVersion: interlock/v1\nkind: Declarations\n"
                                    "metadata: {name: d, environment: p, namespace: s}\n%s",
                                    body);
    must(changes_declare(self->changes, &request, NOW_MS, &self->memory, answer, &why));
    return answer;
}

/* ---- What the history says now */

typedef struct search {
    const char *name, *to;
    bool found;
} search;

static bool search_visit(void *context, const fact *what, int64_t recorded_from_ms) {
    search *self = context;
    (void)recorded_from_ms;
    if (strcmp(what->name, self->name) == 0 && strcmp(what->is_edge ? what->to : "", self->to) == 0 &&
        what->valid_to_ms == HISTORY_OPEN)
        self->found = true;
    return true;
}

static bool is_said(world *self, const char *name, const char *to) {
    search work = {.name = name, .to = to};
    must(history_each(self->past, NULL, search_visit, &work, &why));
    return work.found;
}

/* ---- Tests */

static void an_event_counts_once(void **state) {
    world it;
    (void)state;
    world_open(&it);
    assert_int_equal(deploy_send(&it, "1", "1")->accepted, 1);
    assert_int_equal(deploy_send(&it, "1", "2")->duplicates, 1);
    assert_true(is_said(&it, "service:p/s/a", "deploy:p/s/a.1"));
    assert_false(is_said(&it, "service:p/s/a", "deploy:p/s/a.2"));
    save(&it);
    restart(&it);
    assert_int_equal(deploy_send(&it, "1", "2")->duplicates, 1);
    world_close(&it);
}

static void a_restart_goes_on_where_it_was(void **state) {
    world it;
    (void)state;
    world_open(&it);
    (void)deploy_send(&it, "1", "1");
    save(&it);
    restart(&it);
    assert_int_equal(changes_count(it.changes).lanes, 1);
    (void)deploy_send(&it, "2", "2"); /* takes the place of what was said before the restart */
    assert_false(is_said(&it, "service:p/s/a", "deploy:p/s/a.1"));
    assert_true(is_said(&it, "service:p/s/a", "deploy:p/s/a.2"));
    world_close(&it);
}

static void an_object_replaces_what_it_said(void **state) {
    static const char before[] =
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"},"
        "\"data\":{\"a\":\"1\"}}";
    static const char after[] = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"},"
                                "\"data\":{\"a\":\"2\"}}";
    static const char gone[] =
        "{\"type\":\"DELETED\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\","
        "\"metadata\":{\"name\":\"c\"}}}";
    world it;
    (void)state;
    world_open(&it);
    assert_int_equal(object_send(&it, before)->accepted, 1);
    assert_int_equal(object_send(&it, before)->unchanged, 1);
    assert_int_equal(object_send(&it, after)->accepted, 1);
    assert_true(is_said(&it, "config:default/default/c", ""));
    assert_int_equal(object_send(&it, gone)->accepted, 1);
    assert_false(is_said(&it, "config:default/default/c", ""));
    assert_int_equal(object_send(&it, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"}}")->ignored, 1);
    objects_response *answer = object_send(&it, "{\"kind\":\"ConfigMap\xf0\",\"metadata\":{}}");
    assert_int_equal(answer->n_refused, 1);
    assert_true(utf8_valid(bytes_of_text(answer->refused[0]->message)));
    world_close(&it);
}

static void a_document_replaces_what_it_declared(void **state) {
    world it;
    (void)state;
    world_open(&it);
    declarations_response *answer = declare(&it, "services: [{name: a, tier: 1}, {name: b}]\n", true);
    assert_int_equal(answer->added, 2);
    assert_int_equal(answer->n_differences, 2);
    assert_false(is_said(&it, "service:p/s/a", ""));
    (void)declare(&it, "services: [{name: a, tier: 1}, {name: b}]\n", false);
    assert_true(is_said(&it, "service:p/s/b", ""));
    save(&it);
    restart(&it);
    answer = declare(&it, "services: [{name: a, tier: 2}]\n", false);
    assert_int_equal(answer->changed, 1);
    assert_int_equal(answer->removed, 1);
    assert_false(is_said(&it, "service:p/s/b", ""));
    world_close(&it);
}

static void a_taken_alias_is_a_warning(void **state) {
    world it;
    (void)state;
    world_open(&it);
    assert_int_equal(declare(&it, "services: [{name: a, aliases: [old]}]\n", false)->n_warnings, 0);
    assert_string_equal(history_resolve(it.past, "service:p/s/old"), "service:p/s/a");
    assert_int_equal(declare(&it, "services: [{name: a, aliases: [old]}]\n", false)->n_warnings, 0);
    assert_int_equal(
        declare(&it, "services: [{name: a}, {name: b}, {name: c, aliases: [b]}]\n", false)->n_warnings, 1);
    world_close(&it);
}

static bool drift_names(Interlock__Graph__V1__DriftItem *const *items, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(items[i]->statement->name, name) == 0)
            return true;
    return false;
}

static void drift_is_what_differs(void **state) {
    static const char workload[] =
        "{\"apiVersion\":\"apps/"
        "v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"s\"},"
        "\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"resource.opentelemetry.io/"
        "deployment.environment.name\":\"p\"}}}}}";
    world it;
    drift_response answer = INTERLOCK__GRAPH__V1__GET_DRIFT_RESPONSE__INIT;
    (void)state;
    world_open(&it);
    (void)object_send(&it, arena_format(&it.memory, workload, "both"));
    (void)object_send(&it, arena_format(&it.memory, workload, "seen"));
    (void)object_send(&it, arena_format(&it.memory, workload, "called"));
    must(changes_drift(it.changes, &it.memory, &answer, &why));
    assert_int_equal(answer.undeclared_count + answer.never_seen_count, 0); /* nothing is declared */
    (void)declare(
        &it, "services: [{name: both}, {name: planned}]\nedges: [{from: both, to: called, kind: calls}]\n",
        false);
    answer = (drift_response)INTERLOCK__GRAPH__V1__GET_DRIFT_RESPONSE__INIT;
    must(changes_drift(it.changes, &it.memory, &answer, &why));
    assert_int_equal(answer.undeclared_count, 1);
    assert_true(drift_names(answer.undeclared, answer.n_undeclared, "service:p/s/seen"));
    assert_int_equal(answer.never_seen_count, 2);
    assert_true(drift_names(answer.never_seen, answer.n_never_seen, "service:p/s/planned"));
    assert_true(drift_names(answer.never_seen, answer.n_never_seen, "service:p/s/both")); /* the call */
    world_close(&it);
}

static void requests_are_bounded(void **state) {
    world it;
    events_request events = INTERLOCK__GRAPH__V1__SEND_EVENTS_REQUEST__INIT;
    events_response answer = INTERLOCK__GRAPH__V1__SEND_EVENTS_RESPONSE__INIT;
    (void)state;
    world_open(&it);
    assert_int_equal(changes_take_events(it.changes, &events, NOW_MS, &it.memory, &answer, &why),
                     STATUS_INVALID_ARGUMENT);
    events.n_events = CHANGES_ITEMS_MAX + 1;
    assert_int_equal(changes_take_events(it.changes, &events, NOW_MS, &it.memory, &answer, &why),
                     STATUS_INVALID_ARGUMENT);
    world_close(&it);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_counts_once),
        cmocka_unit_test(a_restart_goes_on_where_it_was),
        cmocka_unit_test(an_object_replaces_what_it_said),
        cmocka_unit_test(a_document_replaces_what_it_declared),
        cmocka_unit_test(a_taken_alias_is_a_warning),
        cmocka_unit_test(drift_is_what_differs),
        cmocka_unit_test(requests_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
