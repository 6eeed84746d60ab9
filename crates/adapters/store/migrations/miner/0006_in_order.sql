-- What requests write stands in the order in which they came. An index of random values (nonce, token, the session's name) costs each row
-- a page of its own, in the log and in the file; what rows are looked up by is kept in memory (admission/recall.rs).

CREATE TABLE nonces_in_order (
    seq       INTEGER PRIMARY KEY,
    hotkey    TEXT    NOT NULL REFERENCES validators (hotkey),
    nonce     TEXT    NOT NULL,                                   -- unique with its hotkey among those that still count
    forget_at INTEGER NOT NULL
) STRICT;
INSERT INTO nonces_in_order (hotkey, nonce, forget_at) SELECT hotkey, nonce, forget_at FROM nonces ORDER BY forget_at;
DROP TABLE nonces;
ALTER TABLE nonces_in_order RENAME TO nonces;
ALTER TABLE validators DROP COLUMN nonces;

CREATE TABLE sessions_in_order (
    seq        INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL,
    validator  TEXT    NOT NULL REFERENCES validators (hotkey),
    token_hash BLOB    NOT NULL CHECK (length(token_hash) = 32),
    opened_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    public_key TEXT,                                              -- once a discovery named one
    ended_at   INTEGER,                                           -- before its time
    ended_why  TEXT    CHECK (ended_why IN ('replaced', 'revoked', 'shutdown')),
    over_at    INTEGER NOT NULL GENERATED ALWAYS AS (min(expires_at, coalesce(ended_at, expires_at))) VIRTUAL
) STRICT;
INSERT INTO sessions_in_order (id, validator, token_hash, opened_at, expires_at, public_key, ended_at, ended_why)
    SELECT id, validator, token_hash, opened_at, expires_at, public_key, ended_at, ended_why FROM sessions
    ORDER BY opened_at, id;

CREATE TABLE deployments_in_order (
    node_id TEXT    NOT NULL,
    session INTEGER NOT NULL REFERENCES sessions_in_order (seq),
    PRIMARY KEY (node_id, session)
) STRICT, WITHOUT ROWID;
INSERT INTO deployments_in_order (node_id, session)
    SELECT node_id, seq FROM deployments JOIN sessions_in_order ON id = session_id;

DROP TABLE deployments;
DROP TABLE sessions;
ALTER TABLE sessions_in_order RENAME TO sessions;
ALTER TABLE deployments_in_order RENAME TO deployments;
-- Only sessions with a key come onto nodes, and few have one.
CREATE UNIQUE INDEX sessions_with_key ON sessions (id) WHERE public_key IS NOT NULL;
CREATE INDEX sessions_by_validator ON sessions (validator, expires_at) WHERE ended_at IS NULL;
-- It grows as the table does, and spares those who count and prune a walk through all of it.
CREATE INDEX sessions_by_end ON sessions (over_at, ended_at);
-- Whether any node may still carry a session's key, asked for each session that is pruned.
CREATE INDEX deployments_by_session ON deployments (session);
