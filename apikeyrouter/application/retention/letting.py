"""How far it has come to let go what may go: what a run tells of itself while it is under way."""

from enum import StrEnum

import msgspec

from apikeyrouter.domain.retention_cut import Cut


class Step(StrEnum):
    """What a run is doing."""

    Choosing = "choosing"
    Rehearsing = "rehearsing"
    Archiving = "archiving"
    Sealing = "sealing"
    Deleting = "deleting"
    Done = "done"
    Failed = "failed"


class Letting(msgspec.Struct, kw_only=True):
    """How far a run has come; `reason` is why it failed, or why it dropped nothing."""

    step: Step = Step.Choosing
    events: int = 0
    requests: int = 0
    kept: dict[str, int] = {}
    segments: list[str] = []
    cut: Cut | None = None
    reason: str | None = None
