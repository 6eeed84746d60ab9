-- When requests may have been forgotten, by the clock of the kernel that nobody sets (admission/continuity.rs).
CREATE TABLE continuity_by_boottime (
    only        INTEGER PRIMARY KEY CHECK (only = 1),
    boot        TEXT    NOT NULL,                                 -- the kernel's name for its run; empty where it has none
    opened_up   INTEGER NOT NULL,                                 -- how long it had run when it first opened this file, in milliseconds
    refuse_for  INTEGER,                                          -- requests signed until so long after that may be forgotten; none: no such
    known_after INTEGER NOT NULL                                  -- that moment by the clock as it was then, for the next run
) STRICT;
-- Opened anew, as if the kernel had none of the names, since it is not known how long it had run.
INSERT INTO continuity_by_boottime
    SELECT only, CASE boot WHEN 'restored' THEN boot ELSE '' END, 0, NULL, known_after FROM continuity;
DROP TABLE continuity;
ALTER TABLE continuity_by_boottime RENAME TO continuity;
