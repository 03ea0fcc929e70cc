"""Route requests over many API keys, and keep every decision explainable."""
