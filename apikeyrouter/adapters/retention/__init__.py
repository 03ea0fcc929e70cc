"""Archived segments as files, and the rows of a log that leave it or come back."""
