-- What memory has learnt from the log: a projection that the log rebuilds at any time. The cursor is committed together
-- with what the records up to it did, so that every record counts exactly once.
CREATE TABLE cursor (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    next_index INTEGER NOT NULL
) STRICT;
INSERT INTO cursor VALUES (1, 0);

CREATE TABLE action (
    action_id            TEXT PRIMARY KEY,
    latest_index         INTEGER NOT NULL, -- of its newest record, of any kind: what the next Append expects
    decision_index       INTEGER NOT NULL,
    digest               BLOB NOT NULL,    -- SHA-256 of the action's payload; empty once the body was erased
    principal            TEXT NOT NULL,
    verb                 TEXT NOT NULL,
    outcome              TEXT NOT NULL,    -- ALLOW, DENY, …
    mode                 TEXT NOT NULL,    -- ENFORCED, …
    summary              TEXT NOT NULL,
    decided_at_ms        INTEGER NOT NULL,
    predicted_share      REAL NOT NULL,
    predicted_share_high REAL NOT NULL,
    state                INTEGER NOT NULL DEFAULT 0, -- OutcomeState; 0 until an outcome is reported
    actual_share         REAL NOT NULL DEFAULT -1,
    note                 TEXT NOT NULL DEFAULT '',
    outcome_index        INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX action_by_decision ON action (decision_index);
CREATE INDEX action_by_verb ON action (verb, decision_index);

CREATE TABLE target (
    action_id TEXT NOT NULL,
    position  INTEGER NOT NULL,
    node      TEXT NOT NULL,
    PRIMARY KEY (action_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX target_by_node ON target (node, action_id);

-- Every outcome ever reported, so that the same statement sent again finds its own record.
CREATE TABLE outcome (
    log_index      INTEGER PRIMARY KEY,
    action_id      TEXT NOT NULL,
    previous_index INTEGER NOT NULL,
    digest         BLOB NOT NULL
) STRICT;
CREATE INDEX outcome_by_digest ON outcome (action_id, digest);

-- What caused incidents, as people and agents confirmed it.
CREATE TABLE chain (
    log_index       INTEGER PRIMARY KEY,
    incident        TEXT NOT NULL,
    kind            INTEGER NOT NULL, -- CauseKind
    principal       TEXT NOT NULL,
    note            TEXT NOT NULL,
    confirmed_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX chain_by_incident ON chain (incident);

CREATE TABLE chain_hop (
    log_index INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    node      TEXT NOT NULL,
    edge      INTEGER NOT NULL, -- EdgeKind
    at_ms     INTEGER NOT NULL,
    PRIMARY KEY (log_index, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX chain_hop_by_node ON chain_hop (node, log_index);
