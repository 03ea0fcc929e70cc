"""Read models in a SQLite file of their own, and the questions that are asked of them."""
