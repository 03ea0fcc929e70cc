"""Proof that nobody changed the log: the tree over its events, and the statements that are signed of it."""
