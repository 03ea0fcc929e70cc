"""Let requests leave the log after their time: archived, proven and recorded before a row is deleted."""
