-- Everything that a miner must not forget over a restart. Times are milliseconds since 1970 UTC.

-- One row per validator hotkey that ever passed a signature check with a permit.
CREATE TABLE validators (
    hotkey        TEXT    PRIMARY KEY,
    nonces        INTEGER NOT NULL DEFAULT 0 CHECK (nonces >= 0), -- rows of this hotkey in nonces
    seen_v2       INTEGER NOT NULL DEFAULT 0 CHECK (seen_v2 IN (0, 1)),
    last_epoch    INTEGER NOT NULL DEFAULT -1, -- of the last accepted discovery
    last_ts_secs  INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Nonces used, until nobody could replay them any more (RULES R8).
CREATE TABLE nonces (
    hotkey    TEXT    NOT NULL REFERENCES validators (hotkey),
    nonce     TEXT    NOT NULL,
    forget_at INTEGER NOT NULL,
    PRIMARY KEY (hotkey, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX nonces_by_end ON nonces (hotkey, forget_at);

-- Access windows. The token itself is never stored.
CREATE TABLE sessions (
    id         TEXT    PRIMARY KEY,
    validator  TEXT    NOT NULL REFERENCES validators (hotkey),
    token_hash BLOB    NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    opened_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    public_key TEXT,                                              -- once a discovery named one
    ended_at   INTEGER                                            -- before its time: too many keyed ones, shutdown
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_validator ON sessions (validator, expires_at);

-- Which node may still carry a session's key. A row goes when the node was seen without the key.
CREATE TABLE deployments (
    node_id    TEXT    NOT NULL,
    session_id TEXT    NOT NULL REFERENCES sessions (id),
    PRIMARY KEY (node_id, session_id)
) STRICT, WITHOUT ROWID;

-- Host keys: what each node is known by, and what it showed instead.
CREATE TABLE host_keys (
    node_id     TEXT    PRIMARY KEY,
    address     TEXT    NOT NULL,
    pinned      TEXT    NOT NULL,
    pinned_at   INTEGER NOT NULL,
    offered     TEXT,                                             -- another key that it shows now
    offered_at  INTEGER
) STRICT, WITHOUT ROWID;
