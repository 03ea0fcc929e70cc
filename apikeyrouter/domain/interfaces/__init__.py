"""Ports that users implement."""
