-- What a node's history comes to so far, and a GPU's, whichever node it is in: SCALE; none: to be folded from history.
ALTER TABLE nodes ADD COLUMN record BLOB;
ALTER TABLE gpus ADD COLUMN record BLOB;
CREATE INDEX gpus_node ON gpus (miner, node);
-- What a passed full check proved, as JSON: [uuid, ...]; rows from before have none.
ALTER TABLE history ADD COLUMN gpus TEXT;
-- 1: the miner vouches for another host key since then, and the row ('available') says nothing else.
ALTER TABLE history ADD COLUMN moved INTEGER NOT NULL DEFAULT 0;

-- Who gets what of a window's weights, and why.
CREATE TABLE emissions (
    window_id INTEGER NOT NULL REFERENCES windows (id) ON DELETE CASCADE,
    place     INTEGER NOT NULL,
    uid       INTEGER NOT NULL,
    category  TEXT,                            -- none: burnt
    points    TEXT    NOT NULL,                -- of this miner in this category; a u128
    total     TEXT    NOT NULL,                -- of all miners in it
    weight    INTEGER NOT NULL,
    PRIMARY KEY (window_id, place)
) STRICT;
