-- The log. Index 0 is the genesis record; every table is append-only but for counters, meta and erasure.

-- number: term, epoch, fence, …; text: origin, installation, boot id, the latest checkpoint's note.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    text TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- `hashes` are the complete subtrees that this leaf completed, from level 0 up: the subtree (level, n) is at
-- level * 32 in the row of its last leaf, (n + 1) * 2^level - 1. So every hash of the tree is one row away and
-- costs no row of its own.
CREATE TABLE entry (
    position INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL,
    hashes BLOB NOT NULL
) STRICT;

-- The record, sealed with its own key. Erasure deletes the row here and in `secret`.
CREATE TABLE body (
    position INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;

CREATE TABLE secret (
    position INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    salt BLOB NOT NULL
) STRICT;

-- The chain of each action: which record followed which. The key makes a second successor impossible.
CREATE TABLE action (
    action_id TEXT NOT NULL,
    previous INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (action_id, previous)
) STRICT, WITHOUT ROWID;

-- Records that belong to no action, by payload digest, so that a repeated control write is recognised.
CREATE TABLE statement (
    digest BLOB PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Eleven sums, oldest first; `newest` is the number of the last bucket on this boot's clock (meta: boot).
CREATE TABLE counter (
    key TEXT PRIMARY KEY,
    window_ms INTEGER NOT NULL,
    newest INTEGER NOT NULL,
    sums BLOB NOT NULL
) STRICT, WITHOUT ROWID;
