"""Tell people outside of budgets that run out: log lines, and a webhook."""
