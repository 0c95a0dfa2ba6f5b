/* One thing that changed at one moment: what events.c, objects.c and declarations.c make of what is sent, and
 * what changes.c puts into the history. */
#ifndef GRAPH_CHANGE_H
#define GRAPH_CHANGE_H

#include "statements.h"

#define CHANGE_LANE_BYTES 512U /* with the NUL */
#define CHANGE_TIE_BYTES 512U
#define CHANGES_OF_ITEM_MAX 64U

/* How a state follows from the ones before it on its lane. */
typedef enum change_role {
    CHANGE_WHOLE = 0,  /* it alone is said from here on */
    CHANGE_OPEN = 1,   /* like an update; what it affects counts again */
    CHANGE_UPDATE = 2, /* what was said before still is, with this over it */
    CHANGE_END =
        3, /* nodes stay, with this over them; what was affected is no longer, and later updates add none */
} change_role;

/* A lane is the succession of states of one thing: of a service its deploys, of an incident its life, of an
 * object or a document what it says. States are put in order by time, and by the tie where the times are
 * equal; so the order in which they arrive does not matter. */
typedef struct change {
    const char *lane;   /* "deploy/service:prod/shop/cart" */
    const char *origin; /* of the statements, as the history knows it */
    int64_t from_ms;
    const char *tie; /* tells states of one moment apart, the same whenever the same is sent again */
    change_role role;
    bool
        only_news; /* a state that says nothing new is not kept: the source tells its states in their order */
    statements what; /* finished */
} change;

typedef struct change_list {
    change items[CHANGES_OF_ITEM_MAX];
    size_t count;
} change_list;

#endif
