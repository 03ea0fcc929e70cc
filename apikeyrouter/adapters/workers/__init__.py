"""Long passes over the log, shared among processes."""
