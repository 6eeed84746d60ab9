-- A node is out as long as one order says so, and each ends by itself: a command's, the configuration's and that of a removal are rows of
-- their own. Before, one row stood for all, and its reason told whose it was.
CREATE TABLE maintenance_by_order (
    node_id    TEXT    NOT NULL,
    ordered_by TEXT    NOT NULL CHECK (ordered_by IN ('command', 'configuration', 'removal')),
    began_at   INTEGER NOT NULL,
    ended_at   INTEGER CHECK (ended_at >= began_at),
    reason     TEXT,                                              -- the operator's words
    PRIMARY KEY (node_id, ordered_by, began_at)
) STRICT, WITHOUT ROWID;
INSERT INTO maintenance_by_order (node_id, ordered_by, began_at, ended_at, reason)
    SELECT node_id, ordered_by, began_at, ended_at, CASE ordered_by WHEN 'command' THEN reason END
    FROM (SELECT *, CASE reason
        WHEN '`maintenance = true` in the configuration' THEN 'configuration'
        WHEN 'removed by `nodes remove`' THEN 'removal'
        ELSE 'command' END AS ordered_by FROM maintenance);
DROP TABLE maintenance;
ALTER TABLE maintenance_by_order RENAME TO maintenance;
CREATE UNIQUE INDEX maintenance_open ON maintenance (node_id, ordered_by) WHERE ended_at IS NULL;
