"""Import paths of the published guide."""
