-- The graph on disk. First the traffic: a node and an edge have one row that names them, and one of what their spans say
-- now. Times are milliseconds since 1970: valid when it was true in production, recorded when the graph knew it.
CREATE TABLE node (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind INTEGER NOT NULL
) STRICT;

CREATE TABLE node_traffic (
    node INTEGER PRIMARY KEY REFERENCES node (id),
    requests REAL NOT NULL,
    entry_requests REAL NOT NULL,
    overflow REAL NOT NULL,
    spans INTEGER NOT NULL,
    unknown_spans INTEGER NOT NULL,
    unattributed INTEGER NOT NULL,
    visible INTEGER NOT NULL,
    provenance INTEGER NOT NULL,
    confidence REAL NOT NULL,
    valid_from INTEGER NOT NULL,
    recorded_from INTEGER NOT NULL
) STRICT;

CREATE TABLE edge (
    id INTEGER PRIMARY KEY,
    from_node INTEGER NOT NULL REFERENCES node (id),
    to_node INTEGER NOT NULL REFERENCES node (id),
    kind INTEGER NOT NULL,
    UNIQUE (from_node, to_node, kind)
) STRICT;

CREATE TABLE edge_traffic (
    edge INTEGER PRIMARY KEY REFERENCES edge (id),
    calls REAL NOT NULL,
    requests_with_call REAL NOT NULL,
    spans INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    provenance INTEGER NOT NULL,
    confidence REAL NOT NULL,
    valid_from INTEGER NOT NULL,
    recorded_from INTEGER NOT NULL
) STRICT;

-- The sets of nodes that entry requests reach: ascending node ids of four bytes each, little end first.
CREATE TABLE shape (
    members BLOB PRIMARY KEY,
    requests REAL NOT NULL,
    reach REAL NOT NULL,
    traces REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- The most recent observations, as the model takes them (88 bytes each): what a restart needs to find the parents of
-- spans to come. Old rows are deleted.
CREATE TABLE journal (
    sequence INTEGER PRIMARY KEY,
    recorded_ms INTEGER NOT NULL,
    observations BLOB NOT NULL
) STRICT;

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

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
