"""What `doctor` finds."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that was looked at: ok, warn or fail."""

    status: str
    what: str
    detail: str
