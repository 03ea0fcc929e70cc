"""The demo: the real router, two scripted providers, and a crowd of clients, all on this machine."""
