"""The verifier that travels with evidence; it runs alone."""
