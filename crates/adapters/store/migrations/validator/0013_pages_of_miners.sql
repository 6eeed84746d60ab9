-- The same of all nodes of a miner.
CREATE INDEX verdicts_of_miner ON verdicts (miner, finished, seq);
