"""Benchmarks of ApiKeyRouter beside its peers, all on one machine and over loopback only."""
