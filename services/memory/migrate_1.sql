-- Version 2 keeps confirmed chains. No log of before has any, so there is nothing to learn again.
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
