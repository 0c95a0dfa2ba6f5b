-- The graph on disk. A node and an edge have one row that names them, versions with two times (valid: true in
-- production; recorded: known to the graph; milliseconds since 1970, NULL while it lasts), and one row of counts.
CREATE TABLE node (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind INTEGER NOT NULL
) STRICT;

CREATE TABLE node_version (
    node INTEGER NOT NULL REFERENCES node (id),
    visible INTEGER NOT NULL,
    provenance INTEGER NOT NULL,
    confidence REAL NOT NULL,
    source TEXT NOT NULL,
    valid_from INTEGER NOT NULL,
    valid_to INTEGER,
    recorded_from INTEGER NOT NULL,
    recorded_to INTEGER
) STRICT;
CREATE INDEX node_version_open ON node_version (node) WHERE recorded_to IS NULL;
CREATE INDEX node_version_time ON node_version (node, recorded_from);

CREATE TABLE node_traffic (
    node INTEGER PRIMARY KEY REFERENCES node (id),
    requests REAL NOT NULL,
    entry_requests REAL NOT NULL,
    overflow REAL NOT NULL,
    spans INTEGER NOT NULL,
    unknown_spans INTEGER NOT NULL,
    unattributed INTEGER NOT NULL
) STRICT;

CREATE TABLE edge (
    id INTEGER PRIMARY KEY,
    from_node INTEGER NOT NULL REFERENCES node (id),
    to_node INTEGER NOT NULL REFERENCES node (id),
    kind INTEGER NOT NULL,
    UNIQUE (from_node, to_node, kind)
) STRICT;

CREATE TABLE edge_version (
    edge INTEGER NOT NULL REFERENCES edge (id),
    provenance INTEGER NOT NULL,
    confidence REAL NOT NULL,
    source TEXT NOT NULL,
    valid_from INTEGER NOT NULL,
    valid_to INTEGER,
    recorded_from INTEGER NOT NULL,
    recorded_to INTEGER
) STRICT;
CREATE INDEX edge_version_open ON edge_version (edge) WHERE recorded_to IS NULL;
CREATE INDEX edge_version_time ON edge_version (edge, recorded_from);

CREATE TABLE edge_traffic (
    edge INTEGER PRIMARY KEY REFERENCES edge (id),
    calls REAL NOT NULL,
    requests_with_call REAL NOT NULL,
    spans INTEGER NOT NULL,
    last_ms INTEGER NOT NULL
) STRICT;

-- The sets of nodes that entry requests reach: ascending node ids of four bytes each, little end first.
CREATE TABLE shape (
    members BLOB PRIMARY KEY,
    requests REAL NOT NULL,
    reach REAL NOT NULL,
    traces REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- The most recent observations, as the model takes them (64 bytes each): what a restart needs to find the parents of
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

-- What follows is not the schema: a node that was only mentioned at 2,000 (valid from 1,000) and spoke at 3,000, who
-- called it, and the call.
INSERT INTO node VALUES (0, 'service:prod/shop/front', 1), (1, 'service:prod/shop/cart', 1);
INSERT INTO node_version VALUES
    (0, 1, 1, 1.0, 'otlp', 1000, NULL, 2000, NULL),
    (1, 1, 3, 0.5, 'otlp', 1000, NULL, 2000, 3000),
    (1, 1, 1, 1.0, 'otlp', 1000, NULL, 3000, NULL);
INSERT INTO node_traffic VALUES (0, 4, 4, 0, 4, 0, 0), (1, 4, 0, 0, 4, 0, 0);
INSERT INTO edge VALUES (0, 0, 1, 1);
INSERT INTO edge_version VALUES (0, 1, 1.0, 'otlp', 1000, NULL, 2000, NULL);
INSERT INTO edge_traffic VALUES (0, 4, 4, 4, 1500);
INSERT INTO shape VALUES (x'0000000001000000', 4, 4, 4);
INSERT INTO meta VALUES ('revision', 7), ('as_of_ms', 1500), ('entry_requests', 4.0), ('entry_squares', 4.0), ('spans', 8);
