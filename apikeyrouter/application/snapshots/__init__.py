"""Snapshots of the fold: states that were kept, so that nobody folds a long log from its beginning."""
