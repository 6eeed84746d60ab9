-- Verdicts of a node newest first, whoever lists it: pages of them go on after a place in this order.
CREATE INDEX verdicts_pages ON verdicts (node, finished, seq);
