-- From here on the tables are the same on both engines. A verdict has a place in the order in which all were stored,
-- which SQLite kept as its hidden rowid.
CREATE TABLE verdicts_2 (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    digest   TEXT    NOT NULL UNIQUE,
    miner    TEXT    NOT NULL,
    node     TEXT    NOT NULL,
    previous TEXT,
    finished INTEGER NOT NULL,
    bytes    BLOB    NOT NULL
) STRICT;
INSERT INTO verdicts_2 (digest, miner, node, previous, finished, bytes)
    SELECT digest, miner, node, previous, finished, bytes FROM verdicts ORDER BY rowid;
DROP TABLE verdicts;
ALTER TABLE verdicts_2 RENAME TO verdicts;
CREATE INDEX verdicts_node ON verdicts (miner, node, finished);
CREATE INDEX verdicts_finished ON verdicts (finished);

-- Who leads, and until when, by the database server's clock; alone nobody asks.
ALTER TABLE leadership ADD COLUMN holder TEXT;
ALTER TABLE leadership ADD COLUMN lease_end INTEGER NOT NULL DEFAULT 0;
