"""How the seals stand, for people and for monitors."""

from typing import Any

from apikeyrouter.application.proof.standing import SealStanding
from apikeyrouter.domain.windows import SECOND_US


def seals_view(standing: SealStanding) -> dict[str, Any]:
    """Show what is sealed, how long ago, what the patrol found and what the witness said last."""
    witness = {
        "name": standing.witness,
        "last_visit": standing.visit,
        "last_visit_age_s": _seconds(standing.visit_age_us),
        "cosigned_events": standing.cosigned,
    }
    return {
        "key": standing.key,
        "sealed_events": standing.sealed,
        "unsealed_events": standing.unsealed,
        "checkpoint_age_s": _seconds(standing.checkpoint_age_us),
        "failing": standing.is_failing,
        "patrol": standing.patrol,
        "witness": None if standing.witness is None else witness,
    }


def _seconds(us: int | None) -> float | None:
    return None if us is None else round(us / SECOND_US, 3)
