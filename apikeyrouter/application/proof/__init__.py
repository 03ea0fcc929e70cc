"""Seal the log as it grows, verify it against its seals, and prove single events."""
