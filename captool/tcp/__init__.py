"""TCP segments to connections, gaps, probes and in-order stream pieces (compiled tracker)."""
