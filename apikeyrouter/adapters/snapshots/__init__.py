"""Snapshots of the fold as files beside the log; whatever does not fit is ignored and folded anew."""
