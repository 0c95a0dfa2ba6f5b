/* Opening and checking a proposed action. The order matters: nothing inside the payload is looked at before
 * its signature holds, and the signature is checked against the key that the control data names, never
 * against one that the message brings. */
#include "action.h"

#include <stdio.h>
#include <string.h>

#include "crypto/dsse.h"
#include "wire/scan.h"

static const char *const NODE_KINDS[] = {"service",  "endpoint", "datastore", "queue",  "host",     "zone",
                                         "contract", "deploy",   "config",    "flag",   "incident", "action",
                                         "agent",    "policy",   "owner",     "journey"};

static bool is_word_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

static bool is_word(const char *text) {
    size_t size = 0;
    while (is_word_char(text[size]))
        size++;
    return size > 0 && text[size] == '\0';
}

static bool action_id_valid(const char *id) {
    size_t size = 0;
    for (; id[size] != '\0'; size++)
        if (!is_word_char(id[size]) && id[size] != ':')
            return false;
    return size >= 1 && size <= LIMIT_ACTION_ID_BYTES;
}

/* Lower case, so that no rule is missed for a capital letter. */
static bool verb_valid(const char *verb) {
    if (verb[0] < 'a' || verb[0] > 'z')
        return false;
    size_t size = 0;
    for (; verb[size] != '\0'; size++)
        if (!is_word_char(verb[size]) || (verb[size] >= 'A' && verb[size] <= 'Z'))
            return false;
    return size <= ACTION_VERB_BYTES;
}

static bool kind_known(const char *name, size_t size) {
    for (size_t i = 0; i < sizeof(NODE_KINDS) / sizeof(NODE_KINDS[0]); i++)
        if (strlen(NODE_KINDS[i]) == size && memcmp(NODE_KINDS[i], name, size) == 0)
            return true;
    return false;
}

static size_t word_length(const char *text) {
    size_t size = 0;
    while (is_word_char(text[size]))
        size++;
    return size;
}

/* kind:environment/namespace/name. The last part is free text without blanks, control characters or `*`,
 * which would read as a pattern. */
static bool node_name_valid(const char *name) {
    size_t size = strlen(name);
    if (size > LIMIT_NAME_BYTES)
        return false;
    const char *colon = strchr(name, ':');
    if (colon == NULL || !kind_known(name, (size_t)(colon - name)))
        return false;
    const char *part = colon + 1;
    for (int i = 0; i < 2; i++) {
        size_t length = word_length(part);
        if (length == 0 || part[length] != '/')
            return false;
        part += length + 1;
    }
    if (*part == '\0')
        return false;
    for (; *part != '\0'; part++)
        if ((unsigned char)*part <= ' ' || *part == 0x7f || *part == '*')
            return false;
    return true;
}

static status_code invalid(failure *why, const char *field, const char *rule) {
    return fail_field(why, field, "ACTION_INVALID", "the action's %s %s; correct it and sign it again", field,
                      rule);
}

static status_code check_length(const char *text, const char *field, size_t most, failure *why) {
    if (strlen(text) <= most)
        return STATUS_OK;
    char rule[64];
    (void)snprintf(rule, sizeof rule, "is longer than %zu bytes", most);
    return invalid(why, field, rule);
}

static status_code check_texts(const Interlock__Policy__V1__Action *action, failure *why) {
    const struct {
        const char *text, *field;
        size_t most;
    } texts[] = {
        {action->session_id, "session_id", LIMIT_NAME_BYTES},
        {action->harness, "harness", LIMIT_NAME_BYTES},
        {action->on_behalf_of, "on_behalf_of", LIMIT_NAME_BYTES},
        {action->intent, "intent", ACTION_INTENT_BYTES},
        {action->executor, "executor", LIMIT_NAME_BYTES},
        {action->model == NULL ? "" : action->model->provider, "model.provider", 128},
        {action->model == NULL ? "" : action->model->name, "model.name", 128},
        {action->model == NULL ? "" : action->model->version, "model.version", 128},
        {action->reach == NULL ? "" : action->reach->region, "reach.region", 128},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        status_code code = check_length(texts[i].text, texts[i].field, texts[i].most, why);
        if (code != STATUS_OK)
            return code;
    }
    return STATUS_OK;
}

static status_code check_targets(const Interlock__Policy__V1__Action *action, failure *why) {
    if (action->n_targets < 1 || action->n_targets > LIMIT_TARGETS)
        return invalid(why, "targets", "must name 1 to 64 nodes");
    for (size_t i = 0; i < action->n_targets; i++) {
        char field[32];
        (void)snprintf(field, sizeof field, "targets[%zu]", i);
        if (!node_name_valid(action->targets[i]))
            return invalid(why, field,
                           "is not a node's name: kind:environment/namespace/name, at most 256 bytes, e.g. "
                           "service:prod/shop/cart");
        for (size_t j = 0; j < i; j++)
            if (strcmp(action->targets[i], action->targets[j]) == 0)
                return invalid(why, field, "is named twice");
    }
    return STATUS_OK;
}

static status_code check_arguments(Interlock__Policy__V1__Argument *const *arguments, size_t count,
                                   const char *where, failure *why) {
    if (count > ACTION_ARGUMENTS)
        return invalid(why, where, "are more than 64");
    for (size_t i = 0; i < count; i++) {
        char field[64];
        (void)snprintf(field, sizeof field, "%s[%zu]", where, i);
        if (arguments[i]->name[0] == '\0' || strlen(arguments[i]->name) > 128)
            return invalid(why, field, "must have a name of 1 to 128 bytes");
        if (i > 0 && strcmp(arguments[i - 1]->name, arguments[i]->name) >= 0)
            return invalid(why, field, "is out of order: sort by name, each name once");
        if (strlen(arguments[i]->value) > ACTION_VALUE_BYTES)
            return invalid(why, field, "has a value longer than 32768 bytes");
    }
    return STATUS_OK;
}

static status_code check_probes(const Interlock__Policy__V1__Action *action, failure *why) {
    if (action->n_health_probes > ACTION_PROBES)
        return invalid(why, "health_probes", "are more than 16");
    for (size_t i = 0; i < action->n_health_probes; i++)
        if (action->health_probes[i][0] == '\0' || strlen(action->health_probes[i]) > 128)
            return invalid(why, "health_probes", "must have names of 1 to 128 bytes");
    return STATUS_OK;
}

static status_code check_scalars(const Interlock__Policy__V1__Action *action, failure *why) {
    if (!action_id_valid(action->action_id))
        return invalid(why, "action_id", "must be 1 to 128 of A-Z a-z 0-9 . _ - :");
    if (action->actor_kind < INTERLOCK__POLICY__V1__ACTOR_KIND__ACTOR_KIND_AGENT ||
        action->actor_kind > INTERLOCK__POLICY__V1__ACTOR_KIND__ACTOR_KIND_PIPELINE)
        return invalid(why, "actor_kind", "must be AGENT, HUMAN or PIPELINE");
    if (!verb_valid(action->verb))
        return invalid(why, "verb", "must be 1 to 64 of a-z 0-9 . _ - and begin with a letter, e.g. deploy");
    if (action->reach != NULL && !(action->reach->percent >= 0 && action->reach->percent <= 100))
        return invalid(why, "reach.percent", "must be 0 to 100");
    if (action->executor[0] != '\0' &&
        (strncmp(action->executor, "executor/", 9) != 0 || !is_word(action->executor + 9)))
        return invalid(why, "executor", "must be executor/NAME, with a name of A-Z a-z 0-9 . _ -");
    if (action->reversal != NULL && action->reversal->verb[0] != '\0' && !verb_valid(action->reversal->verb))
        return invalid(why, "reversal.verb", "must be 1 to 64 of a-z 0-9 . _ - and begin with a letter");
    return STATUS_OK;
}

status_code action_check(const Interlock__Policy__V1__Action *action, failure *why) {
    status_code code = check_scalars(action, why);
    if (code == STATUS_OK)
        code = check_texts(action, why);
    if (code == STATUS_OK)
        code = check_targets(action, why);
    if (code == STATUS_OK)
        code = check_arguments(action->arguments, action->n_arguments, "arguments", why);
    if (code == STATUS_OK && action->reversal != NULL)
        code = check_arguments(action->reversal->arguments, action->reversal->n_arguments,
                               "reversal.arguments", why);
    if (code == STATUS_OK)
        code = check_probes(action, why);
    return code;
}

bool action_carrier_allowed(const Interlock__Control__V1__Enrolment *enrolment, const rpc_peer *peer) {
    if (enrolment->n_carriers == 0)
        return true;
    for (size_t i = 0; i < enrolment->n_carriers; i++) {
        const char *carrier = enrolment->carriers[i];
        size_t size = strlen(carrier);
        bool any_suffix = size > 0 && carrier[size - 1] == '*';
        size_t compared = any_suffix ? size - 1 : size + 1;
        if (peer->principal[0] != '\0' && strncmp(carrier, peer->principal, compared) == 0)
            return true;
        if (peer->spiffe_id[0] != '\0' && strncmp(carrier, peer->spiffe_id, compared) == 0)
            return true;
    }
    return false;
}

static status_code check_envelope(const Interlock__Common__V1__Envelope *envelope, failure *why) {
    if (envelope == NULL)
        return fail_field(why, "action", "ACTION_INVALID",
                          "the request has no action; send the signed envelope");
    if (strcmp(envelope->payload_type, PAYLOAD_ACTION) != 0)
        return fail_field(why, "action.payload_type", "ACTION_INVALID",
                          "the envelope's payload type must be %s", PAYLOAD_ACTION);
    if (envelope->payload.len > ACTION_ENVELOPE_BYTES)
        return fail_field(why, "action.payload", "ACTION_INVALID",
                          "the action has %zu bytes; at most %u are taken: refer to large changes by digest",
                          envelope->payload.len, ACTION_ENVELOPE_BYTES);
    return STATUS_OK;
}

/* The principal may propose: executors and approvers have keys too, and one key has one purpose. */
static bool may_propose(const char *principal) {
    return strncmp(principal, "agent/", 6) == 0 || strncmp(principal, "operator/", 9) == 0;
}

static status_code check_signature(const action_gate *gate, const Interlock__Common__V1__Envelope *envelope,
                                   const control_enrolment **out, failure *why) {
    if (envelope->n_signatures != 1)
        return fail(why, STATUS_UNAUTHENTICATED, "SIGNATURE_INVALID",
                    "the envelope has %zu signatures; send exactly one, the agent's", envelope->n_signatures);
    const char *keyid = envelope->signatures[0]->keyid;
    const control_enrolment *enrolment = control_find_key(gate->view, keyid);
    if (enrolment == NULL)
        return fail(why, STATUS_UNAUTHENTICATED, "AGENT_NOT_ENROLLED",
                    "no key %.32s is enrolled; an operator enrols it with: interlock agent enroll", keyid);
    if (!dsse_verify(envelope, PAYLOAD_ACTION, &enrolment->key))
        return fail(
            why, STATUS_UNAUTHENTICATED, "SIGNATURE_INVALID",
            "the signature is not that of the enrolled key %s; sign PAE(payload type, payload) with it",
            enrolment->keyid);
    if (enrolment->statement->revoked)
        return fail(why, STATUS_UNAUTHENTICATED, "KEY_REVOKED",
                    "the key %s of %.128s is revoked; enrol a new one", enrolment->keyid,
                    enrolment->statement->principal);
    if (!may_propose(enrolment->statement->principal))
        return fail(why, STATUS_PERMISSION_DENIED, "PRINCIPAL_CANNOT_PROPOSE",
                    "%.128s is not an agent; sign actions with a key enrolled for agent/…",
                    enrolment->statement->principal);
    *out = enrolment;
    return STATUS_OK;
}

/* A header that does not hold is the action's fault, whatever a statement of another kind would be told. */
static status_code check_header(const action_gate *gate, const Interlock__Policy__V1__Action *action,
                                bool *expired, failure *why) {
    failure found = {0};
    status_code code = statement_header_check(action->header, PAYLOAD_ACTION, gate->installation,
                                              LIMIT_ACTION_LIFETIME_MS, gate->source, &found);
    *expired = code != STATUS_OK && strcmp(found.reason, "STATEMENT_EXPIRED") == 0;
    if (code == STATUS_OK || *expired)
        return STATUS_OK;
    found.code = STATUS_INVALID_ARGUMENT;
    if (why != NULL)
        *why = found;
    return found.code;
}

static status_code check_identity(const action_gate *gate, const control_enrolment *enrolment,
                                  const Interlock__Policy__V1__Action *action, failure *why) {
    if (strcmp(action->header->principal, enrolment->statement->principal) != 0)
        return fail(
            why, STATUS_UNAUTHENTICATED, "PRINCIPAL_MISMATCH",
            "the action says it is from %.128s but the key is that of %.128s; state the key's principal",
            action->header->principal, enrolment->statement->principal);
    if (!action_carrier_allowed(enrolment->statement, gate->peer))
        return fail(why, STATUS_PERMISSION_DENIED, "CARRIER_NOT_ALLOWED",
                    "%.128s may not carry statements of %.128s; enrol it with --carrier",
                    gate->peer->principal, enrolment->statement->principal);
    return STATUS_OK;
}

status_code action_refuse_expired(const proposal *self, const chance *source, failure *why) {
    int64_t expired_ms = chance_wall_ms(source) - self->action->header->expires_at_ms;
    return fail(
        why, STATUS_INVALID_ARGUMENT, "STATEMENT_EXPIRED",
        "the action expired %lld ms ago by our clock, and the log holds no decision on it; compare the "
        "clocks, then issue and sign it again",
        (long long)expired_ms);
}

status_code action_open(const action_gate *gate, const Interlock__Common__V1__Envelope *envelope,
                        arena *memory, proposal *out, failure *why) {
    proposal result = {.envelope = envelope};
    status_code code = check_envelope(envelope, why);
    if (code != STATUS_OK)
        return code;
    code = check_signature(gate, envelope, &result.enrolment, why);
    if (code != STATUS_OK)
        return code;
    ProtobufCMessage *message = NULL;
    code = wire_unpack_signed(&interlock__policy__v1__action__descriptor,
                              bytes_of(envelope->payload.data, envelope->payload.len), memory, &message, why);
    if (code != STATUS_OK)
        return code;
    result.action = (const Interlock__Policy__V1__Action *)message;
    code = check_header(gate, result.action, &result.expired, why);
    if (code == STATUS_OK)
        code = check_identity(gate, result.enrolment, result.action, why);
    if (code == STATUS_OK)
        code = action_check(result.action, why);
    if (code != STATUS_OK)
        return code;
    dsse_payload_digest(envelope, result.digest);
    *out = result;
    return STATUS_OK;
}
