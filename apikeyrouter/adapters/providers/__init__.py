"""One file per provider translation, one per transport."""
