"""Budgets under load: what hard ones cost a request, and who holds them."""
