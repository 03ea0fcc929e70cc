"""Where bodies lie: sealed under data keys of their subjects, in two files beside the log."""
