"""Estimate and actual, side by side: for each model of each provider, by how sure the actual amount is.

Amounts are whole nano-USD, summed since the log began, so that every figure follows from events exactly.
"""

from enum import StrEnum
from typing import Final

import msgspec

from apikeyrouter.domain.events import RouteDecided
from apikeyrouter.domain.settlement import MEASURED as TOLD_BY_PROVIDER

MOST_PLACES: Final = 1_000
"""Clients choose the names of models, so what is remembered by them is bounded; the oldest is dropped."""


class Source(StrEnum):
    """Whether the provider told what was consumed, or it is only known not to be more than so much."""

    Measured = "measured"
    Bounded = "bounded"


class Accuracy(msgspec.Struct):
    """How settlements of one kind compare with what was reserved and expected for them.

    The sums of money are of those whose actual cost is known: `bound` of all of these, `expected` and both
    errors of the `foreseen` ones, for which a decision told an expected cost. `above_bound` should be zero.
    """

    settlements: int = 0
    unpriced: int = 0
    foreseen: int = 0
    above_bound: int = 0
    bound_nano_usd: int = 0
    actual_nano_usd: int = 0
    expected_nano_usd: int = 0
    foreseen_actual_nano_usd: int = 0
    absolute_error_nano_usd: int = 0

    @property
    def signed_error_nano_usd(self) -> int:
        """Actual less expected, in all: above zero where more was spent than expected."""
        return self.foreseen_actual_nano_usd - self.expected_nano_usd


class Reconciliation:
    """The comparison, by provider and model. Only the fold writes here."""

    def __init__(self) -> None:
        self.by_place: dict[tuple[str, str], dict[Source, Accuracy]] = {}

    def settle(self, decision: RouteDecided, usage_source: str, actual_nano_usd: int | None) -> None:
        """Take in the settlement of a call that a decision was made for; None where no price is known."""
        source = Source.Measured if usage_source == TOLD_BY_PROVIDER else Source.Bounded
        accuracy = self._accuracy((decision.chosen.provider_id, decision.model), source)
        accuracy.settlements += 1
        bound, expected = decision.chosen.cost_bound_nano_usd, decision.chosen.expected_cost_nano_usd
        if actual_nano_usd is None or bound is None:
            accuracy.unpriced += 1
            return
        accuracy.bound_nano_usd += bound
        accuracy.actual_nano_usd += actual_nano_usd
        accuracy.above_bound += actual_nano_usd > bound
        if expected is not None:
            accuracy.foreseen += 1
            accuracy.expected_nano_usd += expected
            accuracy.foreseen_actual_nano_usd += actual_nano_usd
            accuracy.absolute_error_nano_usd += abs(actual_nano_usd - expected)

    def _accuracy(self, place: tuple[str, str], source: Source) -> Accuracy:
        by_source = self.by_place.get(place)
        if by_source is None:
            if len(self.by_place) >= MOST_PLACES:
                del self.by_place[next(iter(self.by_place))]
            by_source = self.by_place[place] = {}
        accuracy = by_source.get(source)
        if accuracy is None:
            accuracy = by_source[source] = Accuracy()
        return accuracy
