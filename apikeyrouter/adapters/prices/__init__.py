"""Where books of prices come from."""
