-- Nodes on hold: they proved what others had proved before (RULES R10), and whom each must be challenged together with.
CREATE TABLE holds (
    miner    TEXT NOT NULL,
    node     TEXT NOT NULL,
    by_miner TEXT NOT NULL,
    by_node  TEXT NOT NULL,
    PRIMARY KEY (miner, node, by_miner, by_node),
    FOREIGN KEY (miner, node) REFERENCES nodes (miner, node)
) STRICT;
-- Pairs of nodes that passed when challenged at once: two machines, whatever they share. One row for each pair.
CREATE TABLE apart (
    miner       TEXT    NOT NULL,
    node        TEXT    NOT NULL,
    other_miner TEXT    NOT NULL,
    other_node  TEXT    NOT NULL,
    at          INTEGER NOT NULL,              -- last time
    PRIMARY KEY (miner, node, other_miner, other_node)
) STRICT;
CREATE INDEX apart_other ON apart (other_miner, other_node);
CREATE INDEX apart_at ON apart (at);
