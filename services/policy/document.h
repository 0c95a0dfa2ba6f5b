/* A policy set: YAML in, an immutable structure out. Everything that can be wrong is refused with line and
 * column before the document is accepted: unknown and duplicate keys, aliases, anchors, tags, a second
 * document, values out of range, rules that can never match. docs/policy.md describes the keys. Thread-safe
 * once parsed; counted. */
#ifndef POLICY_DOCUMENT_H
#define POLICY_DOCUMENT_H

#include "base/bytes.h"
#include "interlock/policy/v1/policy.pb-c.h"

#define DOCUMENT_BYTES (256U << 10)
#define DOCUMENT_STAGES 64U
#define DOCUMENT_RULES 256U
#define DOCUMENT_PATTERNS 64U
#define DOCUMENT_NAME_BYTES 128U
#define DOCUMENT_MESSAGE_BYTES 512U

typedef struct pattern_list {
    char **items;
    size_t count;
} pattern_list;

/* What a permit rule demands. A member that is not stated bounds nothing. */
typedef struct policy_bound {
    bool entry_traffic_stated;
    double entry_traffic; /* 0 to 1: the most that the upper end of the share may be */
} policy_bound;

typedef struct policy_stage {
    pattern_list targets;
    Interlock__Policy__V1__Mode mode; /* advisory or enforced */
} policy_stage;

typedef enum policy_effect { EFFECT_PERMIT, EFFECT_FORBID } policy_effect;

typedef struct policy_rule {
    char *name;    /* unique in the document */
    char *message; /* for people; "" when not stated */
    policy_effect effect;
    pattern_list verbs;
    pattern_list targets;
    pattern_list agents; /* empty: every enrolled agent */
    policy_bound bound;  /* of permit rules alone */
} policy_rule;

typedef struct policy_document {
    char *name;
    uint64_t version;
    char digest[65]; /* SHA-256 of the document's bytes, hex */
    policy_stage *stages;
    size_t stage_count;
    policy_rule *rules;
    size_t rule_count;
} policy_document;

/* INVALID_ARGUMENT, reason POLICY_INVALID: "policy:LINE:COLUMN: …", and the path of the value as the field.
 */
status_code document_parse(bytes text, policy_document **out, failure *why) MUST_USE;
policy_document *document_ref(policy_document *self);
void document_unref(policy_document *self); /* takes NULL; the last one frees */

/* The stage of one target: the lowest of all that name it; advisory when none does. */
Interlock__Policy__V1__Mode document_mode(const policy_document *self, const char *target);

#endif
