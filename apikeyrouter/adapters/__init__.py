"""Everything that touches the world: log, vault, providers, telemetry."""
