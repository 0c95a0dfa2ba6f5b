-- Version 1 to 2: what the graph knows beyond the traffic. Everything here stands in schema.sql too.

-- Observations say more than they did: those of a file of version 1 cannot be read any more.
DELETE FROM journal;

-- What spans say now stands beside the counts; what they said before goes to the history when it is first opened, and
-- these tables then go.
ALTER TABLE node_traffic ADD COLUMN visible INTEGER NOT NULL DEFAULT 0;
ALTER TABLE node_traffic ADD COLUMN provenance INTEGER NOT NULL DEFAULT 3;
ALTER TABLE node_traffic ADD COLUMN confidence REAL NOT NULL DEFAULT 0;
ALTER TABLE node_traffic ADD COLUMN valid_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE node_traffic ADD COLUMN recorded_from INTEGER NOT NULL DEFAULT 0;
UPDATE node_traffic SET (visible, provenance, confidence, valid_from, recorded_from) = (SELECT v.visible, v.provenance,
    v.confidence, v.valid_from, v.recorded_from FROM node_version v WHERE v.node = node_traffic.node AND
    v.recorded_to IS NULL);
ALTER TABLE edge_traffic ADD COLUMN provenance INTEGER NOT NULL DEFAULT 3;
ALTER TABLE edge_traffic ADD COLUMN confidence REAL NOT NULL DEFAULT 0;
ALTER TABLE edge_traffic ADD COLUMN valid_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE edge_traffic ADD COLUMN recorded_from INTEGER NOT NULL DEFAULT 0;
UPDATE edge_traffic SET (provenance, confidence, valid_from, recorded_from) = (SELECT v.provenance, v.confidence,
    v.valid_from, v.recorded_from FROM edge_version v WHERE v.edge = edge_traffic.edge AND v.recorded_to IS NULL);
CREATE TABLE version_1 AS SELECT v.recorded_from AS recorded_from, 0 AS is_edge, n.kind AS kind, n.name AS name, '' AS
    other, v.provenance AS provenance, v.confidence AS confidence, v.valid_from AS valid_from FROM node_version v JOIN
    node n ON n.id = v.node WHERE v.visible = 1
    UNION ALL SELECT v.recorded_from, 1, e.kind, f.name, t.name, v.provenance, v.confidence, v.valid_from FROM
    edge_version v JOIN edge e ON e.id = v.edge JOIN node f ON f.id = e.from_node JOIN node t ON t.id = e.to_node;
DROP TABLE node_version;
DROP TABLE edge_version;

-- Operations and pods of services, by the numbers that observations carry.
CREATE TABLE operation (
    id INTEGER PRIMARY KEY,
    node INTEGER NOT NULL REFERENCES node (id),
    name TEXT NOT NULL
) STRICT;

CREATE TABLE pod (
    id INTEGER PRIMARY KEY,
    node INTEGER NOT NULL REFERENCES node (id),
    name TEXT NOT NULL
) STRICT;

-- What passed over an edge (subject 0), through an operation (1), or was served by a node (2), since the beginning: an
-- array of doubles, as in flow_counts.
CREATE TABLE flow_totals (
    subject INTEGER NOT NULL,
    number INTEGER NOT NULL,
    counts BLOB NOT NULL,
    PRIMARY KEY (subject, number)
) STRICT, WITHOUT ROWID;

-- The same of edges and operations in time buckets, with the bins of a latency sketch.
CREATE TABLE flow_bucket (
    level INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,
    subject INTEGER NOT NULL,
    number INTEGER NOT NULL,
    counts BLOB NOT NULL,
    latency BLOB NOT NULL,
    PRIMARY KEY (level, from_ms, subject, number)
) STRICT, WITHOUT ROWID;

-- Which operations of a caller pass an edge.
CREATE TABLE flow_route (
    operation INTEGER NOT NULL REFERENCES operation (id),
    edge INTEGER NOT NULL REFERENCES edge (id),
    requests REAL NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (operation, edge)
) STRICT, WITHOUT ROWID;

-- States of the things that changes and declarations are about (lanes.h): one thing, one lane.
CREATE TABLE lane_state (
    lane TEXT NOT NULL,
    from_ms INTEGER NOT NULL,
    tie TEXT NOT NULL,
    origin TEXT NOT NULL,
    role INTEGER NOT NULL,
    statements BLOB NOT NULL,
    PRIMARY KEY (lane, from_ms, tie)
) STRICT, WITHOUT ROWID;

-- The newest events, so that one that is sent again counts once: event `number` is in slot number modulo the room.
CREATE TABLE seen_event (
    slot INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    id BLOB NOT NULL
) STRICT;

-- What root cause analysis rests on: summed-up requests in chunks (arrays as in evidence_keep.h), and the errors that
-- their records name.
CREATE TABLE evidence_chunk (
    id INTEGER PRIMARY KEY,
    thinned INTEGER NOT NULL,
    traces BLOB NOT NULL,
    spans BLOB NOT NULL,
    records BLOB NOT NULL
) STRICT;

CREATE TABLE evidence_error (
    id INTEGER PRIMARY KEY,
    exception INTEGER NOT NULL,
    node INTEGER NOT NULL,
    text TEXT NOT NULL
) STRICT;

-- The history: every node and edge of all kinds, with two times (services/graph/history.h). Its numbers are its own:
-- those of `node` and `edge` above belong to the traffic model. Bodies are what history_codec.h makes.
CREATE TABLE history_node (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL
) STRICT;

-- Other names, former ones among them, in the order in which they came to be.
CREATE TABLE history_alias (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    node INTEGER NOT NULL REFERENCES history_node (id)
) STRICT;

CREATE TABLE history_edge (
    id INTEGER PRIMARY KEY,
    from_node INTEGER NOT NULL REFERENCES history_node (id),
    to_node INTEGER NOT NULL REFERENCES history_node (id),
    kind INTEGER NOT NULL
) STRICT;

CREATE TABLE history_origin (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL
) STRICT;

-- What one origin says of one thing: the number of a node, or 2^31 + that of an edge.
CREATE TABLE history_timeline (
    id INTEGER PRIMARY KEY,
    thing INTEGER NOT NULL,
    origin INTEGER NOT NULL REFERENCES history_origin (id)
) STRICT;

-- Provenance, confidence and attributes, once each.
CREATE TABLE history_value (
    id INTEGER PRIMARY KEY,
    hash INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX history_value_hash ON history_value (hash);

-- Statements as they were committed, a row a commit: what the newest segment is rebuilt from, and what watchers get.
CREATE TABLE history_log (
    revision INTEGER PRIMARY KEY,
    recorded_ms INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

-- Recorded time is cut into segments. `revisions`: which revision was recorded when, inside of it.
CREATE TABLE history_segment (
    id INTEGER PRIMARY KEY,
    start_ms INTEGER NOT NULL,
    start_revision INTEGER NOT NULL,
    statements INTEGER NOT NULL,
    folded_nodes INTEGER NOT NULL,
    folded_edges INTEGER NOT NULL,
    revisions BLOB
) STRICT;

-- Of 64 neighbouring timelines each (a lot): what they said at the start of a segment, and the statements that were
-- recorded in it; id = segment * 2^32 + lot. Statements about a time before the start of their segment stand apart,
-- those of all segments together; id = lot.
CREATE TABLE history_keyframe (
    id INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE history_records (
    id INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE history_late (
    id INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- Signals: series of nodes and their time buckets (level 0 is the finest). `sum_…` is where a cumulative sum stood.
CREATE TABLE signal_node (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL
) STRICT;

CREATE TABLE signal_series (
    id INTEGER PRIMARY KEY,
    node INTEGER NOT NULL REFERENCES signal_node (id),
    pod TEXT NOT NULL,
    name TEXT NOT NULL,
    unit TEXT NOT NULL,
    type INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    points REAL NOT NULL,
    sum_start_ms INTEGER NOT NULL,
    sum_time_ms INTEGER NOT NULL,
    sum_count REAL NOT NULL,
    sum_sum REAL NOT NULL
) STRICT;

CREATE TABLE signal_bucket (
    level INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,
    series INTEGER NOT NULL,
    count REAL NOT NULL,
    sum REAL NOT NULL,
    minimum REAL NOT NULL,
    maximum REAL NOT NULL,
    parts INTEGER NOT NULL,
    PRIMARY KEY (level, from_ms, series)
) STRICT, WITHOUT ROWID;

-- Log templates, which nodes have said them, and how often in which time bucket.
CREATE TABLE log_node (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL
) STRICT;

CREATE TABLE log_template (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL,
    severity INTEGER NOT NULL,
    count REAL NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE log_pair (
    id INTEGER PRIMARY KEY,
    node INTEGER NOT NULL REFERENCES log_node (id),
    template INTEGER NOT NULL
) STRICT;

CREATE TABLE log_bucket (
    level INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,
    pair INTEGER NOT NULL,
    count REAL NOT NULL,
    PRIMARY KEY (level, from_ms, pair)
) STRICT, WITHOUT ROWID;

-- Digests of the newest requests of metrics and logs: what tells one that comes again.
CREATE TABLE telemetry_seen (
    sequence INTEGER PRIMARY KEY,
    digest INTEGER NOT NULL
) STRICT;
