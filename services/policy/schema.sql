-- policy.db: a projection of the log. Nothing here is a source of truth: it is rebuilt from index 0 whenever it is absent
-- or belongs to another log.

-- How far the log has been applied, in the same transaction as what was applied.
--   next_index    the first index that has not been applied
--   control_seq   the highest that any record carries
--   epoch         of the latest record
--   fence_index   of the latest kill switch that was set; 0: none
--   last_leaf     SHA-256 of the leaf at next_index - 1, hex: how another log is recognised
--   origin        the log's name
CREATE TABLE meta (
    name   TEXT PRIMARY KEY,
    number INTEGER NOT NULL DEFAULT 0,
    text   TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

-- Where the latest decision on each action stands; what it says is read from the log.
CREATE TABLE action (
    action_id      TEXT PRIMARY KEY,
    latest_index   INTEGER NOT NULL, -- of any record of the action
    decision_index INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every control statement that is in the log.
CREATE TABLE statement (
    digest      BLOB PRIMARY KEY, -- SHA-256 of the payload
    log_index   INTEGER NOT NULL,
    control_seq INTEGER NOT NULL,
    envelope    BLOB NOT NULL     -- as recorded, so that control data knows after a restart what it must not fall below
) STRICT, WITHOUT ROWID;
