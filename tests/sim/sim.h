/* A whole installation in one thread, in which a seed decides everything that can go wrong: messages are
 * lost, delayed, doubled and overtaken, replicas of policy and the audit service crash at any step, an
 * operator sets and clears kill switches, agents ask again and again, and two of them use one action id.
 *
 * Real: the audit log on SQLite (append.c, audit_log.c, counters.c …, crashing within its writes through
 * SQLite's file layer), control views and freshness (lib/control/view.c), opening and deciding an action
 * (action.c, decide.c, claims.c), the signer (signer.c, permit.c), every signature, hash and proof.
 * Simulated: the network, clocks, randomness, coordination (a list of what was written), and in sim_replica.c
 * the steps between them, which follow services/policy/evaluation_record.c rule by rule because that file is
 * made of gRPC callbacks.
 *
 * sim_check.c says what must hold. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "view.h"

#include "audit_log.h"
#include "base/chance.h"
#include "decide.h"
#include "interlock/audit/v1/audit.pb-c.h"
#include "interlock/policy/v1/policy.pb-c.h"
#include "signer.h"

#define SIM_INSTALLATION "sim"
#define SIM_REPLICAS 3U
#define SIM_AGENTS 2U
#define SIM_EVALUATIONS 24U /* in flight at a replica */
#define SIM_MESSAGES 2048U
#define SIM_ATTEMPTS 96U
#define SIM_SNAPSHOTS 64U
#define SIM_KILLS 3U
#define SIM_ANSWERS 4096U
#define SIM_GROUP 16U
#define SIM_RATE_CAP 6U
#define SIM_RATE_WINDOW_MS 5000U
#define SIM_MS 1000000ULL

typedef enum message_kind {
    MESSAGE_EVALUATE,  /* agent -> replica: an envelope */
    MESSAGE_EVALUATED, /* replica -> agent: EvaluateResponse, or a code */
    MESSAGE_APPEND,    /* replica, operator, executor -> audit: AppendRequest */
    MESSAGE_APPENDED,  /* audit -> whoever asked: AppendResponse */
    MESSAGE_FETCH,     /* replica -> audit: an action id */
    MESSAGE_FETCHED,   /* audit -> replica: Conflict, whose entry is the latest decision; or nothing */
    MESSAGE_CONTROL,   /* coordination -> replica: the number of a snapshot */
} message_kind;

#define SIM_FROM_OPERATOR SIM_REPLICAS
#define SIM_FROM_EXECUTOR (SIM_REPLICAS + 1)

typedef struct sim_message {
    message_kind kind;
    unsigned peer;        /* the replica; or SIM_FROM_… */
    unsigned incarnation; /* of the replica */
    uint64_t number;      /* of the call or the append */
    uint64_t due_ns;
    status_code code;
    bool reused; /* the call failed because the id is another action's */
    uint8_t *body;
    size_t size;
} sim_message;

/* One write to coordination: everything that stands there from then on. */
typedef struct control_snapshot {
    coord_kv kvs[8];
    size_t count;
    uint64_t seq, since_ns;
    bool kill_set[SIM_KILLS];
} control_snapshot;

typedef struct evaluation {
    bool used;
    uint64_t call, number; /* the agent's; of the append or fetch that is awaited */
    uint64_t deadline_ns, send_ns, wait_ns;
    arena memory;
    view_box *box;
    const Interlock__Common__V1__Envelope *envelope;
    proposal proposed;
    uint8_t permit_id[16];
    decision_facts facts;
    const Interlock__Policy__V1__Decision *decision;
    const Interlock__Common__V1__Envelope *record;
    const Interlock__Audit__V1__Receipt *receipt;
    bool repeated;
    uint64_t expect, fenced_seq;
    unsigned rounds;
    sim_message waiting; /* what is sent again until it is answered; its body is in the arena */
} evaluation;

typedef struct replica {
    bool up;
    unsigned incarnation;
    uint64_t up_again_ns, read_ns;
    uint64_t cut_off_ns;   /* until when coordination cannot be reached, while everybody else can */
    simulated_chance time; /* its wall clock is off by some seconds */
    seen known;
    view_box *box;
    uint64_t proof_ns;
    evaluation evaluations[SIM_EVALUATIONS];
} replica;

/* An envelope that an agent sends until it is finally answered, and then some. */
typedef struct attempt {
    char id[24];
    unsigned agent;
    uint8_t digest[CRYPTO_HASH_BYTES];
    const uint8_t *envelope;
    size_t size;
    uint64_t send_ns, call;
    unsigned repeats_left;
    bool answered, final;
} attempt;

/* Everything that a replica has said, whether or not it arrived. */
typedef struct sim_answer {
    char id[24];
    uint8_t digest[CRYPTO_HASH_BYTES];
    uint8_t decision[CRYPTO_HASH_BYTES], permit[CRYPTO_HASH_BYTES], leaf[CRYPTO_HASH_BYTES];
    uint64_t index;
    bool final, permits;
} sim_answer;

typedef struct sim {
    uint64_t seed;
    unsigned step;
    simulated_chance dice, time;
    arena kept; /* until the end of the run */
    char folder[64], directory[96];
    trust roots;
    secret_key *operator_key, *record_key, *checkpoint_key, *permit_key, *executor_key;
    secret_key *agent_keys[SIM_AGENTS];
    policy_document *document;
    signer signs;

    bool healed; /* nothing goes wrong any more */
    unsigned loss_percent, double_percent, crash_percent;
    sim_message network[SIM_MESSAGES];
    size_t network_count;

    bool audit_up;
    uint64_t audit_up_ns;
    audit_log *log;
    unsigned boots;
    sim_message group[SIM_GROUP];
    size_t group_count;

    control_snapshot snapshots[SIM_SNAPSHOTS];
    size_t snapshot_count;
    uint64_t kill_versions[SIM_KILLS];
    sim_message kills_pending[SIM_SNAPSHOTS]; /* records that the operator has no receipt for yet */
    size_t kills_pending_count;
    uint64_t next_number;

    replica replicas[SIM_REPLICAS];
    attempt attempts[SIM_ATTEMPTS];
    size_t attempt_count;

    sim_answer answers[SIM_ANSWERS];
    size_t answer_count;
    checkpoint heads[SIM_ANSWERS]; /* of every receipt that was handed out */
    size_t head_count;
    unsigned permits, crashes, conflicts, fenced, exhausted;
} sim;

/* Says seed and step, and ends the process. */
void sim_fail(const sim *self, const char *format, ...) PRINTF_LIKE(2, 3);
void sim_require(const sim *self, bool holds, const char *what);
uint64_t sim_draw(sim *self, uint64_t below);
bool sim_chance(sim *self, unsigned percent);
uint64_t sim_now(const sim *self); /* boot clock, ns */

/* ---- sim_network.c ---- */

/* Copies the body. The network decides whether, when and how often it arrives. */
void network_send(sim *self, const sim_message *what);
/* Everything that is due arrives. */
void network_deliver(sim *self);
void network_clear(sim *self);
sim_message message_with(message_kind kind, unsigned peer, const ProtobufCMessage *body, arena *memory);

/* ---- sim_audit.c ---- */

void audit_start(sim *self);
void audit_stop(sim *self); /* in good order */
void audit_crash(sim *self);
void audit_take(sim *self, const sim_message *what);
/* One group commit of what was taken. */
void audit_turn(sim *self);

/* ---- sim_control.c ---- */

void control_begin(sim *self);
void control_turn(sim *self);
void control_clear_kills(sim *self);
void control_appended(sim *self, const sim_message *what);
/* Which of the kill switches covers an action, as bits by number. */
unsigned control_kills_of(const char *principal, const char *verb);

/* ---- sim_replica.c ---- */

void replica_start(sim *self, unsigned number);
void replica_crash(sim *self, unsigned number);
void replica_turn(sim *self, unsigned number);
void replica_take(sim *self, const sim_message *what);

/* ---- sim_agents.c ---- */

void agents_turn(sim *self);
void agents_take(sim *self, const sim_message *what);

/* ---- sim_check.c ---- */

/* Of an answer that is about to leave, as it is on the wire. */
void check_answer(sim *self, const evaluation *from, const Interlock__Policy__V1__EvaluateResponse *response);
/* Of the whole log, at the end, against everything that was answered. */
void check_log(sim *self);

#endif
