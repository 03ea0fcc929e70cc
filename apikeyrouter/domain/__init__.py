"""Pure rules: events, deciders, the fold and the routing decision. No clock, no I/O, no framework."""
