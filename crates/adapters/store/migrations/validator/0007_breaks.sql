-- Beside missed deadlines the record holds proofs that were broken off: none so far, in the encoding of the former.
UPDATE nodes SET deadlines = CAST(deadlines || x'0000000000000000000000' AS BLOB) WHERE deadlines IS NOT NULL;
