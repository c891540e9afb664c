"""Reports of a run: the journal is the truth, everything else is rendered from it."""
