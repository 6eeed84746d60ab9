-- What belongs to one machine only, and which nodes proved GPUs behind it: host keys and machine ids. The first of several is its
-- holder (RULES R10).
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
INSERT INTO identities (kind, value, miner, node, first, seen)
    SELECT 'machine_id', machine, miner, node, min(first), max(seen) FROM fingerprints
    WHERE machine IS NOT NULL GROUP BY machine, miner, node;
DROP INDEX fingerprints_machine;
