"""What can be wrong with a log, and where."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Trouble(StrEnum):
    """What was done to a log, as far as the seals tell."""

    Changed = "changed"
    Swapped = "swapped"
    Moved = "moved"
    Inserted = "inserted"
    Deleted = "deleted"
    Truncated = "truncated"
    RolledBack = "rolled_back"
    Appended = "appended"
    Unreadable = "unreadable"
    Damaged = "damaged"
    Rewritten = "rewritten"
    SealsChanged = "seals_changed"
    SealsMissing = "seals_missing"
    CheckpointForged = "checkpoint_forged"
    ArchiveMissing = "archive_missing"
    ArchiveChanged = "archive_changed"


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong, and the position where it begins; None where it has none."""

    trouble: Trouble
    position: int | None
    detail: str


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by position; those without one come last."""
    return tuple(sorted(findings, key=lambda one: (one.position is None, one.position or 0)))
