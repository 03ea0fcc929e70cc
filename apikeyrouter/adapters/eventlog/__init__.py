"""The append-only log on the eventsourcing library."""
