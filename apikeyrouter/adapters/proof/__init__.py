"""The log's signing key, and its seals in files beside the database."""
