-- Who prunes reads all nonces of a hotkey anyway, as it counts them, and every request paid for the index with a page of its own.
DROP INDEX nonces_by_end;
