"""Views that follow the log."""
