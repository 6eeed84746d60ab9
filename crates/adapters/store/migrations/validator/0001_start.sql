-- Times are milliseconds since 1970 UTC, identities their canonical text, digests 64 hex digits.

CREATE TABLE miners (
    hotkey     TEXT    NOT NULL PRIMARY KEY,
    uid        INTEGER,                        -- none: not in the metagraph, or without an axon
    axon       TEXT    NOT NULL,
    seen       INTEGER NOT NULL,
    discovered INTEGER,                        -- last verified discovery response
    failure    TEXT                            -- why the last discovery failed
) STRICT;

CREATE TABLE nodes (
    miner             TEXT    NOT NULL REFERENCES miners (hotkey),
    node              TEXT    NOT NULL,
    address           TEXT    NOT NULL,
    listed            TEXT CHECK (listed IN ('available', 'unreachable', 'maintenance', 'key_pending')),
    rate              INTEGER,                 -- micro-dollars per GPU and hour
    host_keys         TEXT    NOT NULL,        -- one per line
    first_seen        INTEGER NOT NULL,
    due_light         INTEGER NOT NULL,
    due_full          INTEGER NOT NULL,
    next_due          INTEGER NOT NULL GENERATED ALWAYS AS (min(due_light, due_full)) STORED,
    series_kind       TEXT CHECK (series_kind IN ('light', 'full')),
    series_since      INTEGER,
    series_last       INTEGER,
    series_failed     INTEGER,
    series_controlled INTEGER,
    series_silent     INTEGER,
    last_digest       TEXT,
    last_kind         TEXT CHECK (last_kind IN ('light', 'full')),
    last_outcome      TEXT,                    -- 'passed' or a reason code
    last_fault        TEXT,
    last_finished     INTEGER,
    full_digest       TEXT,                    -- the same of the last full check
    full_outcome      TEXT,
    full_fault        TEXT,
    full_finished     INTEGER,
    proven_at         INTEGER,                 -- last passed full check
    proven_gpus       TEXT,                    -- JSON: [[uuid, category], ...]; what it is paid for
    proven_prover     TEXT,                    -- which prover passed
    aborted_openings  TEXT,                    -- JSON: [time, ...], answers cut off after the nonce
    gate              TEXT,
    score             INTEGER,                 -- basis points
    multiplier        INTEGER,                 -- millionths
    banned_until      INTEGER,
    scored_at         INTEGER,
    PRIMARY KEY (miner, node)
) STRICT;
CREATE INDEX nodes_due ON nodes (next_due) WHERE listed = 'available';

CREATE TABLE history (
    id       INTEGER PRIMARY KEY,
    miner    TEXT    NOT NULL,
    node     TEXT    NOT NULL,
    at       INTEGER NOT NULL,                 -- end of a check, or moment of a change
    entry    TEXT    NOT NULL CHECK (entry IN ('light', 'full', 'unavailable', 'available')),
    started  INTEGER,
    outcome  TEXT,
    fault    TEXT,
    -- Of 'unavailable': why, or none if its miner no longer named it.
    status   TEXT CHECK (status IN ('unreachable', 'maintenance', 'key_pending')),
    FOREIGN KEY (miner, node) REFERENCES nodes (miner, node)
) STRICT;
CREATE INDEX history_node ON history (miner, node, at);
CREATE INDEX history_at ON history (at);
CREATE INDEX history_passed ON history (at) WHERE outcome = 'passed';

CREATE TABLE verdicts (
    digest   TEXT    NOT NULL PRIMARY KEY,
    miner    TEXT    NOT NULL,
    node     TEXT    NOT NULL,
    previous TEXT,
    finished INTEGER NOT NULL,
    bytes    BLOB    NOT NULL
) STRICT;
CREATE INDEX verdicts_node ON verdicts (miner, node, finished);
CREATE INDEX verdicts_finished ON verdicts (finished);

CREATE TABLE transcripts (
    digest TEXT    NOT NULL PRIMARY KEY,
    miner  TEXT    NOT NULL,
    node   TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    bytes  BLOB    NOT NULL
) STRICT;
CREATE INDEX transcripts_node ON transcripts (miner, node, at);

-- Who proved a GPU: a uuid belongs to one node at a time (RULES R10).
CREATE TABLE gpus (
    uuid      TEXT    NOT NULL PRIMARY KEY,
    miner     TEXT    NOT NULL,
    node      TEXT    NOT NULL,
    proven_at INTEGER NOT NULL
) STRICT;

-- One row. The token goes up when leadership changes hands (RULES R28); alone it stays 0.
CREATE TABLE leadership (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    token INTEGER NOT NULL
) STRICT;
INSERT INTO leadership (one, token) VALUES (1, 0);

CREATE TABLE windows (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    netuid    INTEGER NOT NULL,
    fencing   INTEGER NOT NULL,
    created   INTEGER NOT NULL,
    weights   TEXT    NOT NULL,                -- JSON: [[uid, weight], ...]
    expected  TEXT    NOT NULL,                -- as the chain should store them
    extrinsic BLOB    NOT NULL,
    hash      TEXT    NOT NULL,
    nonce     INTEGER NOT NULL,
    genesis   TEXT    NOT NULL,
    born      INTEGER NOT NULL,
    born_hash TEXT    NOT NULL,
    dies      INTEGER NOT NULL,
    state     TEXT    NOT NULL CHECK (state IN ('prepared', 'set', 'failed', 'expired')),
    block     INTEGER,
    error     TEXT,
    read_back TEXT
) STRICT;
CREATE UNIQUE INDEX windows_one_under_way ON windows (state) WHERE state = 'prepared';
