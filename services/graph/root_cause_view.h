/* What the engine looks at, put together from the parts of the graph: kept requests, series of metrics,
 * calls, changes. A copy, so that the graph goes on while somebody thinks. */
#ifndef GRAPH_ROOT_CAUSE_VIEW_H
#define GRAPH_ROOT_CAUSE_VIEW_H

#include "evidence_keep.h"
#include "picture.h"
#include "root_cause_map.h"
#include "snapshot.h"
#include "telemetry.h"

typedef struct root_cause_view {
    evidence it;
    evidence_copy kept;
    key_map by_name;
    list services; /* const char *: the model's nodes by number, then others by name */
    list series;   /* evidence_series */
    list points;   /* evidence_point */
    list edges;    /* evidence_edge */
    list changes;  /* evidence_change */
    list patterns; /* const char * */
    list texts;    /* char *, owned */
} root_cause_view;

typedef struct root_cause_sources {
    evidence_keep *kept;
    telemetry *telemetry; /* NULL: none */
    history *past;        /* NULL: none */
    snapshot *graph;
} root_cause_sources;

/* RESOURCE_EXHAUSTED. `self` is freed by root_cause_view_free in any case. */
status_code root_cause_view_make(root_cause_view *self, const root_cause_sources *from,
                                 failure *why) MUST_USE;
void root_cause_view_free(root_cause_view *self); /* takes zeroed */

/* The number of the node of that name; EVIDENCE_NONE. */
uint32_t root_cause_view_find(const root_cause_view *self, const char *name);
/* The same, made when it is not there; copies the name. */
uint32_t root_cause_view_named(root_cause_view *self, const char *name);
void root_cause_view_add_edge(root_cause_view *self, const char *from, const char *to);
void root_cause_view_add_change(root_cause_view *self, const char *name, change_kind kind,
                                const char *service, int64_t time_ms);
/* Calls that the history knows, whoever said so; and changes. */
void root_cause_view_take_calls(root_cause_view *self, const picture *from);
void root_cause_view_take_changes(root_cause_view *self, const picture *from);
/* After what was added: sets the pointers of `it`. */
void root_cause_view_finish(root_cause_view *self);

#endif
