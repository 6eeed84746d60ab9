-- What each node showed of each GPU when it first proved it: trusted from then on.
CREATE TABLE fingerprints (
    miner TEXT    NOT NULL,
    node  TEXT    NOT NULL,
    uuid  TEXT    NOT NULL,
    facts TEXT    NOT NULL,                    -- JSON, as in a claim report
    first INTEGER NOT NULL,
    seen  INTEGER NOT NULL,                    -- proved last
    PRIMARY KEY (miner, node, uuid),
    FOREIGN KEY (miner, node) REFERENCES nodes (miner, node)
) STRICT;
CREATE INDEX fingerprints_seen ON fingerprints (seen);
