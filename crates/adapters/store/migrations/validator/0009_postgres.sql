-- All tables at version 9 at once: where a Postgres begins. Written in SQLite's words like all scripts (see `dialect` in
-- cluster.rs); the test `a_fresh_postgres_has_the_tables_of_a_migrated_file` holds the two together.
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
    next_due          INTEGER NOT NULL GENERATED ALWAYS AS (CASE WHEN due_light < due_full THEN due_light ELSE due_full END) STORED,
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
    deadlines         BLOB,                    -- SCALE: how punctual its proofs are; none before the first
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
CREATE INDEX history_at ON history (at);
CREATE INDEX history_node ON history (miner, node, at);
CREATE INDEX history_passed ON history (at) WHERE outcome = 'passed';

CREATE TABLE verdicts (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    digest   TEXT    NOT NULL UNIQUE,
    miner    TEXT    NOT NULL,
    node     TEXT    NOT NULL,
    previous TEXT,
    finished INTEGER NOT NULL,
    bytes    BLOB    NOT NULL
) STRICT;
CREATE INDEX verdicts_finished ON verdicts (finished);
CREATE INDEX verdicts_node ON verdicts (miner, node, finished);

CREATE TABLE transcripts (
    digest TEXT    NOT NULL PRIMARY KEY,
    miner  TEXT    NOT NULL,
    node   TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    bytes  BLOB    NOT NULL
) STRICT;
CREATE INDEX transcripts_node ON transcripts (miner, node, at);

CREATE TABLE gpus (
    uuid      TEXT    NOT NULL PRIMARY KEY,
    miner     TEXT    NOT NULL,
    node      TEXT    NOT NULL,
    proven_at INTEGER NOT NULL
) STRICT;

CREATE TABLE fingerprints (
    miner TEXT    NOT NULL,
    node  TEXT    NOT NULL,
    uuid  TEXT    NOT NULL,
    facts TEXT    NOT NULL,                    -- JSON, as in a claim report
    first INTEGER NOT NULL,
    seen  INTEGER NOT NULL,                    -- proved last
    machine TEXT,                              -- the hash of its id; none where the node told none
    PRIMARY KEY (miner, node, uuid),
    FOREIGN KEY (miner, node) REFERENCES nodes (miner, node)
) STRICT;
CREATE INDEX fingerprints_seen ON fingerprints (seen);

CREATE TABLE identities (
    kind  TEXT    NOT NULL,                    -- 'host_key' (SHA-256 of the blob) or 'machine_id' (as in a claim report)
    value TEXT    NOT NULL,
    miner TEXT    NOT NULL,
    node  TEXT    NOT NULL,
    first INTEGER NOT NULL,
    seen  INTEGER NOT NULL,                    -- proved last
    PRIMARY KEY (kind, value, miner, node),
    FOREIGN KEY (miner, node) REFERENCES nodes (miner, node)
) STRICT;
CREATE INDEX identities_node ON identities (miner, node);
CREATE INDEX identities_seen ON identities (seen);

CREATE TABLE holds (
    miner    TEXT NOT NULL,
    node     TEXT NOT NULL,
    by_miner TEXT NOT NULL,
    by_node  TEXT NOT NULL,
    PRIMARY KEY (miner, node, by_miner, by_node),
    FOREIGN KEY (miner, node) REFERENCES nodes (miner, node)
) STRICT;

CREATE TABLE apart (
    miner       TEXT    NOT NULL,
    node        TEXT    NOT NULL,
    other_miner TEXT    NOT NULL,
    other_node  TEXT    NOT NULL,
    at          INTEGER NOT NULL,              -- last time
    PRIMARY KEY (miner, node, other_miner, other_node)
) STRICT;
CREATE INDEX apart_at ON apart (at);
CREATE INDEX apart_other ON apart (other_miner, other_node);

CREATE TABLE leadership (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    token INTEGER NOT NULL,
    holder TEXT,
    lease_end INTEGER NOT NULL DEFAULT 0       -- by the database server's clock
) STRICT;
INSERT INTO leadership (one, token) VALUES (1, 0);

CREATE TABLE windows (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    netuid      INTEGER NOT NULL,
    mechanism   INTEGER NOT NULL,
    fencing     INTEGER NOT NULL,
    created     INTEGER NOT NULL,
    weights     TEXT    NOT NULL,              -- JSON: [[uid, weight], ...]
    expected    TEXT    NOT NULL,              -- as the chain should store them
    version_key TEXT    NOT NULL,              -- a u64, which SQLite's integers do not hold
    form        TEXT    NOT NULL CHECK (form IN ('open', 'hash', 'timelocked')),
    commitment  TEXT,                          -- the committed hash, or the ciphertext's
    salt        TEXT,                          -- JSON: [number, ...]; secret until the reveal
    round       INTEGER,                       -- of the beacon
    extrinsic   BLOB    NOT NULL,
    hash        TEXT    NOT NULL,
    nonce       INTEGER NOT NULL,
    genesis     TEXT    NOT NULL,
    born        INTEGER NOT NULL,
    born_hash   TEXT    NOT NULL,
    dies        INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN
        ('prepared', 'committed', 'revealing', 'set', 'revealed', 'refused', 'expired', 'lost')),
    committed   INTEGER,                       -- the commit's block
    block       INTEGER,                       -- the end's
    reason      TEXT,                          -- of an end without weights
    read_back   TEXT
) STRICT;
CREATE UNIQUE INDEX windows_one_under_way ON windows ((1)) WHERE state IN ('prepared', 'committed', 'revealing');

CREATE TABLE reveals (
    "window"  INTEGER NOT NULL PRIMARY KEY REFERENCES windows (id) ON DELETE CASCADE,
    extrinsic BLOB    NOT NULL,
    hash      TEXT    NOT NULL,
    nonce     INTEGER NOT NULL,
    genesis   TEXT    NOT NULL,
    born      INTEGER NOT NULL,
    born_hash TEXT    NOT NULL,
    dies      INTEGER NOT NULL
) STRICT;
