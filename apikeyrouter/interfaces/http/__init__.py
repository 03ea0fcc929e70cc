"""The proxy and its management API."""
