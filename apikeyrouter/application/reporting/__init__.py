"""Questions that reports answer: what they may ask, of which period, and what an answer holds."""
