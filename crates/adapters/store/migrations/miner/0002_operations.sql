-- What operators order while the miner runs. Times are milliseconds since 1970 UTC.

-- Counts the changes that came from a command line, so that the running miner notices them with one cheap read.
CREATE TABLE revision (
    only   INTEGER PRIMARY KEY CHECK (only = 1),
    number INTEGER NOT NULL
) STRICT;
INSERT INTO revision (only, number) VALUES (1, 0);

-- Times during which a node was taken out, as long as they count (RULES R2); the open one has no end.
CREATE TABLE maintenance (
    node_id  TEXT    NOT NULL,
    began_at INTEGER NOT NULL,
    ended_at INTEGER CHECK (ended_at >= began_at),
    reason   TEXT,
    PRIMARY KEY (node_id, began_at)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX maintenance_open ON maintenance (node_id) WHERE ended_at IS NULL;

-- Nodes that stay out after a failure until their operator says otherwise.
CREATE TABLE node_holds (
    node_id TEXT    PRIMARY KEY,
    since   INTEGER NOT NULL,
    why     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Nodes that this miner looks after or has not finished leaving.
CREATE TABLE nodes (
    node_id  TEXT PRIMARY KEY,
    address  TEXT NOT NULL UNIQUE,
    host_key TEXT                                                 -- the one that the configuration named
) STRICT, WITHOUT ROWID;
