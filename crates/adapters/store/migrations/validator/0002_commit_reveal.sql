-- Weights that are committed first: a window has a form, and between its first call and its end a commit to be revealed.
CREATE TABLE windows_2 (
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
INSERT INTO windows_2
    SELECT id, netuid, 0, fencing, created, weights, expected, '0', 'open', NULL, NULL, NULL, extrinsic, hash, nonce,
           genesis, born, born_hash, dies, iif(state = 'failed', 'refused', state), NULL, block,
           iif(state = 'expired', 'era_over', error), read_back
    FROM windows;
DROP TABLE windows;
ALTER TABLE windows_2 RENAME TO windows;
-- One row at most is under way; the index holds a constant for those that are.
CREATE UNIQUE INDEX windows_one_under_way ON windows (1) WHERE state IN ('prepared', 'committed', 'revealing');

-- The reveal of a window, stored before it is submitted.
CREATE TABLE reveals (
    window    INTEGER NOT NULL PRIMARY KEY REFERENCES windows (id) ON DELETE CASCADE,
    extrinsic BLOB    NOT NULL,
    hash      TEXT    NOT NULL,
    nonce     INTEGER NOT NULL,
    genesis   TEXT    NOT NULL,
    born      INTEGER NOT NULL,
    born_hash TEXT    NOT NULL,
    dies      INTEGER NOT NULL
) STRICT;
