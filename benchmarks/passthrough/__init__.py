"""Gateways without logic: the floor that any gateway in Python stands on, and the tutorial's way."""
