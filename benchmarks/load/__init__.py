"""The load generator: its own process, driven by one JSON plan a line."""
