-- What each day's verdicts amount to, signed. `through`: the last verdict's seq; `blocks`: what paths to the root are made of.
CREATE TABLE verdict_days (
    day     INTEGER NOT NULL PRIMARY KEY,
    through INTEGER NOT NULL,
    digest  TEXT    NOT NULL,
    bytes   BLOB    NOT NULL,
    blocks  BLOB    NOT NULL
) STRICT;
CREATE INDEX verdict_days_through ON verdict_days (through);
