"""How the seals of a running server stand: what is sealed, what the patrol found, what the witness said."""

from enum import StrEnum

import msgspec


class PatrolState(StrEnum):
    """What became of the walk over all that was sealed before the start."""

    Walking = "walking"
    Done = "done"
    Found = "found"
    Failed = "failed"
    Stopped = "stopped"


class VisitResult(StrEnum):
    """What came of the last visit to the witness."""

    Cosigned = "cosigned"
    Refused = "refused"
    Unreachable = "unreachable"


class Visit(msgspec.Struct, frozen=True):
    """The last visit to the witness: when it was (by a clock that never jumps), and what came of it."""

    at_us: int
    result: VisitResult


class SealStanding(msgspec.Struct, frozen=True, kw_only=True):
    """What the seals tell at one instant; ages are microseconds, None where there was nothing yet.

    `key` is the name of the log's verifier key, `witness` that of the witness's, None if none is set.
    `cosigned` is how many events the last cosigned checkpoint covers.
    """

    key: str
    sealed: int
    unsealed: int
    checkpoint_age_us: int | None
    is_failing: bool
    patrol: PatrolState
    witness: str | None = None
    visit: VisitResult | None = None
    visit_age_us: int | None = None
    cosigned: int | None = None
