"""The ways in: library, HTTP, command line."""
