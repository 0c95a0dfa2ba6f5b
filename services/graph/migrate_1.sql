-- Version 1 to 2: what the graph knows beyond the traffic. Everything here stands in schema.sql too.

-- Observations say more than they did: those of a file of version 1 cannot be read any more.
DELETE FROM journal;

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
