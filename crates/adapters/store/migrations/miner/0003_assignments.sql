-- Which validators each node belonged to last, so that a restart is no reason to choose anew.
CREATE TABLE assignments (
    node_id   TEXT NOT NULL,
    validator TEXT NOT NULL,
    PRIMARY KEY (node_id, validator)
) STRICT, WITHOUT ROWID;
