"""Public types that users build and read."""
