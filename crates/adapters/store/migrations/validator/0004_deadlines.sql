-- How punctual a node's proofs are, over all of its checks: SCALE; none before the first proof.
ALTER TABLE nodes ADD COLUMN deadlines BLOB;
