-- Whether all nonces that were used can be known (admission/continuity.rs). No row: all writes so far were flushed.
CREATE TABLE continuity (
    only        INTEGER PRIMARY KEY CHECK (only = 1),
    boot        TEXT    NOT NULL,                                 -- the kernel's name for its run; empty where it has none
    known_after INTEGER NOT NULL                                  -- requests signed until then may have been answered and forgotten
) STRICT;
