/* Objects and events from a stream of JSON, many a call. */
#include "ingest_changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/changes_client.h"
#include "client/cloud_events.h"
#include "json_stream.h"

#define BATCH_ITEMS 500U
#define BATCH_BYTES (1U << 20)
#define BATCH_MEMORY_BYTES (64U << 20)
#define SEND_TIMEOUT_MS 30000U

typedef Interlock__Graph__V1__KubernetesObject kubernetes_object;
typedef Interlock__Graph__V1__Refusal refusal;
typedef Io__Cloudevents__V1__CloudEvent cloud_event;

typedef struct sending {
    cli *shell;
    const char *path, *environment, *cluster;
    bool objects;
    rpc_channel *graph;
    arena memory; /* of one batch */
    kubernetes_object *object_items[BATCH_ITEMS];
    cloud_event *event_items[BATCH_ITEMS];
    uint64_t lines[BATCH_ITEMS];
    size_t count, bytes;
    uint64_t told;
    change_totals *totals;
} sending;

/* ---- Telling */

static void tell(sending *self, uint64_t line, const char *item, const char *reason, const char *message) {
    self->totals->refused++;
    if (self->told++ < REFUSALS_TOLD)
        fprintf(stderr, "%s:%llu: %s%s%s: %s\n", cli_safe(&self->memory, self->path),
                (unsigned long long)line, item != NULL ? cli_safe(&self->memory, item) : "",
                item != NULL ? ": " : "", cli_safe(&self->memory, reason), cli_safe(&self->memory, message));
}

static void tell_refusals(sending *self, refusal *const *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (list[i]->index < self->count)
            tell(self, self->lines[list[i]->index], list[i]->item, list[i]->reason, list[i]->message);
}

/* ---- Sending */

static status_code send_objects(sending *self, failure *why) {
    Interlock__Graph__V1__SendObjectsRequest request = INTERLOCK__GRAPH__V1__SEND_OBJECTS_REQUEST__INIT;
    Interlock__Graph__V1__SendObjectsResponse *answer = NULL;
    request.objects = self->object_items;
    request.n_objects = self->count;
    request.environment = (char *)(self->environment != NULL ? self->environment : "");
    request.cluster = (char *)(self->cluster != NULL ? self->cluster : "");
    status_code code =
        changes_send_objects_wait(self->graph, &request, SEND_TIMEOUT_MS, &self->memory, &answer, why);
    if (code != STATUS_OK)
        return code;
    self->totals->accepted += answer->accepted;
    self->totals->unchanged += answer->unchanged;
    self->totals->ignored += answer->ignored;
    tell_refusals(self, answer->refused, answer->n_refused);
    return STATUS_OK;
}

static status_code send_events(sending *self, failure *why) {
    Interlock__Graph__V1__SendEventsRequest request = INTERLOCK__GRAPH__V1__SEND_EVENTS_REQUEST__INIT;
    Interlock__Graph__V1__SendEventsResponse *answer = NULL;
    request.events = self->event_items;
    request.n_events = self->count;
    status_code code =
        changes_send_events_wait(self->graph, &request, SEND_TIMEOUT_MS, &self->memory, &answer, why);
    if (code != STATUS_OK)
        return code;
    self->totals->accepted += answer->accepted;
    self->totals->unchanged += answer->duplicates;
    tell_refusals(self, answer->refused, answer->n_refused);
    return STATUS_OK;
}

static status_code flush(sending *self, failure *why) {
    if (self->count == 0)
        return STATUS_OK;
    status_code code = self->objects ? send_objects(self, why) : send_events(self, why);
    if (code != STATUS_OK)
        return fail_within(why, code, "after %llu items",
                           (unsigned long long)(self->totals->items - self->count));
    self->count = 0;
    self->bytes = 0;
    arena_reset(&self->memory);
    return STATUS_OK;
}

/* ---- Reading */

static status_code object_add(sending *self, const json_piece *piece, failure *why) {
    kubernetes_object *made = arena_alloc(&self->memory, sizeof *made);
    char *text = arena_alloc(&self->memory, piece->text.size + 1);
    if (made == NULL || text == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory for the objects");
    memcpy(text, piece->text.data, piece->text.size);
    text[piece->text.size] = '\0';
    interlock__graph__v1__kubernetes_object__init(made);
    made->json = text;
    self->object_items[self->count] = made;
    return STATUS_OK;
}

static status_code piece_add(sending *self, const json_piece *piece, failure *why) {
    status_code code = self->count == BATCH_ITEMS || self->bytes + piece->text.size > BATCH_BYTES
                           ? flush(self, why)
                           : STATUS_OK;
    failure reason = {0};
    if (code != STATUS_OK)
        return code;
    self->totals->items++;
    if (!utf8_valid(piece->text)) {
        tell(self, piece->line, NULL, "BAD_JSON", "it is not UTF-8");
        return STATUS_OK;
    }
    code = self->objects
               ? object_add(self, piece, &reason)
               : cloud_event_from_json(piece->text, &self->memory, &self->event_items[self->count], &reason);
    if (code == STATUS_INVALID_ARGUMENT) {
        tell(self, piece->line, NULL, reason.reason, reason.message);
        return STATUS_OK;
    }
    if (code != STATUS_OK) {
        *why = reason;
        return code;
    }
    self->lines[self->count++] = piece->line;
    self->bytes += piece->text.size;
    return STATUS_OK;
}

static status_code stream_send(sending *self, json_stream *stream, failure *why) {
    for (;;) {
        json_piece piece;
        failure reason = {0};
        bool more = false;
        bool skipped = false;
        status_code code = json_stream_waiting(stream) ? flush(self, why) : STATUS_OK;
        if (code != STATUS_OK)
            return code;
        code = json_stream_next(stream, &piece, &more, &skipped, &reason);
        if (code != STATUS_OK && !skipped) {
            *why = reason;
            status_code sent = flush(self, &reason); /* what came before it counts */
            return sent == STATUS_OK ? fail_within(why, code, "%.200s", self->path) : sent;
        }
        if (skipped) {
            self->totals->items++;
            tell(self, 0, NULL, reason.reason, reason.message);
            continue;
        }
        if (!more)
            return flush(self, why);
        code = piece_add(self, &piece, why);
        if (code != STATUS_OK)
            return code;
    }
}

static status_code file_send(sending *self, failure *why) {
    bool standard = strcmp(self->path, "-") == 0;
    status_code code = cli_channel(self->shell, "graph", ROLE_OPERATOR, &self->graph, why);
    if (code != STATUS_OK)
        return code;
    FILE *file = standard ? stdin : fopen(self->path, "re");
    if (file == NULL)
        return fail(why, STATUS_NOT_FOUND, "FILE_UNREADABLE", "cannot open %.300s: %s", self->path,
                    strerror(errno));
    json_stream *stream = json_stream_new(file, true);
    code = stream != NULL ? stream_send(self, stream, why)
                          : fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory");
    json_stream_free(stream);
    if (!standard)
        fclose(file);
    if (self->told > REFUSALS_TOLD)
        fprintf(stderr, "… and %llu more.\n", (unsigned long long)(self->told - REFUSALS_TOLD));
    return code;
}

static status_code run(cli *self, const char *path, bool objects, const char *environment,
                       const char *cluster, change_totals *totals, failure *why) {
    sending *work = calloc(1, sizeof *work);
    if (work == NULL)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", "no memory");
    work->shell = self;
    work->path = path;
    work->objects = objects;
    work->environment = environment;
    work->cluster = cluster;
    work->totals = totals;
    arena_init(&work->memory, 1U << 18, BATCH_MEMORY_BYTES);
    status_code code = file_send(work, why);
    rpc_channel_close(work->graph);
    arena_free(&work->memory);
    free(work);
    return code;
}

status_code ingest_objects(cli *self, const char *path, const char *environment, const char *cluster,
                           change_totals *totals, failure *why) {
    return run(self, path, true, environment, cluster, totals, why);
}

status_code ingest_events(cli *self, const char *path, change_totals *totals, failure *why) {
    return run(self, path, false, NULL, NULL, totals, why);
}
