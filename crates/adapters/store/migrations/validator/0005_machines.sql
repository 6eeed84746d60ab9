-- On which machine a GPU was proved: the hash of its id, as claim reports show it; none where the node told none.
ALTER TABLE fingerprints ADD COLUMN machine TEXT;
CREATE INDEX fingerprints_machine ON fingerprints (machine) WHERE machine IS NOT NULL;
