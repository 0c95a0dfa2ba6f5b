/* One Evaluate call on its way through the steps. It lives in the call's arena and belongs to the call's loop
 * thread, except while the lookup thread has it. */
#ifndef POLICY_EVALUATION_H
#define POLICY_EVALUATION_H

#include "decide.h"
#include "policy.h"
#include "wire/find.h"

typedef struct evaluation {
    policy_service *service;
    rpc_call *call;
    arena *memory;
    uint64_t deadline_boot_ns;
    const Interlock__Common__V1__Envelope *envelope;
    const control_view *view;      /* held until the end */
    policy_document *document;     /* held until the end; may be NULL */
    const graph_view_table *table; /* the same */
    proposal proposed;
    uint8_t permit_id[16];
    decision_facts facts;
    Interlock__Policy__V1__Decision *decision;     /* what will be answered */
    const Interlock__Common__V1__Envelope *record; /* of that decision */
    wire_part receipt;                             /* of that record, packed */
    bool repeated;                                 /* the decision was made before */
    uint64_t expect;                               /* of the next append */
    bool charged;                                  /* its rate limits have been, by a record before */
    unsigned rounds;                               /* appends so far */
    uint64_t fenced_seq;                           /* the control_seq that the log refused last; 0: none */
    uint64_t lookup_index;                         /* where the lookup thread begins; 0: ask the projection */
    Interlock__Audit__V1__Entry *found;            /* what it found */
    Interlock__Audit__V1__Receipt *found_receipt;
    status_code lookup_code;
    failure lookup_why;
} evaluation;

/* Ends the call, lets go of what is held. The evaluation is gone afterwards. */
void evaluation_finish(evaluation *self, status_code code, const failure *why);
/* Takes a fresh view and opens the action against it, from the start. */
status_code evaluation_open(evaluation *self, failure *why) MUST_USE;

/* ---- evaluation_facts.c ---- */

/* Gathers the facts, then goes on with evaluation_decide, now or when the graph has answered. */
void evaluation_gather(evaluation *self);
/* The kill switch of the newest view, that view's freshness, the key's validity: OK when a permit may go out.
 */
status_code evaluation_recheck(evaluation *self, failure *why) MUST_USE;

/* ---- evaluation_record.c ---- */

/* Decides on the facts and appends the record; goes on when it is durable. */
void evaluation_decide(evaluation *self);
/* Answers with an earlier decision on the same action; `entry` is in the arena. */
void evaluation_adopt(evaluation *self, const Interlock__Audit__V1__Entry *entry,
                      const Interlock__Audit__V1__Receipt *receipt);
/* The decision is in the log: get the permit if there is one to have, and answer. */
void evaluation_answer(evaluation *self);

/* ---- policy.c ---- */

/* Looks up the decision at or before `index` (0: what the projection knows) on the lookup thread, then adopts
 * it. */
void evaluation_look_up(evaluation *self, uint64_t index);

#endif
