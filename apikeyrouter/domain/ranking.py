"""Candidates in the order of what their scores weigh together: a few as plain floats, many as arrays."""

from typing import NamedTuple, Protocol

import msgspec

from apikeyrouter.domain.columns import Floats, highest
from apikeyrouter.domain.events import Policy
from apikeyrouter.domain.scoring import Scores, combine

TAKEN = -1.0
"""Less than any total."""


class Ranking(Protocol):
    """The candidates by their places among the eligible."""

    def best(self) -> list[int]:
        """Return all places of the greatest total, in order."""

    def next_best(self, first: int, most: int) -> list[int]:
        """Return so many places without `first`, best first, equals in order of registration."""

    def total(self, place: int) -> float:
        """Return what the scores at a place weigh together."""

    def scores(self, place: int) -> Scores[float]:
        """Return the scores at a place."""


class FewRanked(msgspec.Struct, frozen=True, gc=False):
    """One entry a candidate in both lists."""

    each: list[Scores[float]]
    totals: list[float]

    def best(self) -> list[int]:
        """Return all places of the greatest total, in order."""
        greatest = max(self.totals)
        return [place for place, total in enumerate(self.totals) if total == greatest]

    def next_best(self, first: int, most: int) -> list[int]:
        """Return so many places without `first`; a stable sort keeps equals in order."""
        rest = [place for place in range(len(self.totals)) if place != first]
        return sorted(rest, key=self.totals.__getitem__, reverse=True)[:most]

    def total(self, place: int) -> float:
        """Return what the scores at a place weigh together."""
        return self.totals[place]

    def scores(self, place: int) -> Scores[float]:
        """Return the scores at a place."""
        return self.each[place]


class AllRanked(NamedTuple):
    """One entry a candidate in every array."""

    columns: Scores[Floats]
    totals: Floats

    def best(self) -> list[int]:
        """Return all places of the greatest total, in order."""
        places: list[int] = (self.totals == highest(self.totals)).nonzero()[0].tolist()
        return places

    def next_best(self, first: int, most: int) -> list[int]:
        """Return so many places without `first`.

        `argmax` names the first of equals, on every processor; sorts and partitions differ in that.
        """
        rest = self.totals.copy()
        rest[first] = TAKEN
        places = []
        for _ in range(min(most, len(rest) - 1)):
            place = int(rest.argmax())
            rest[place] = TAKEN
            places.append(place)
        return places

    def total(self, place: int) -> float:
        """Return what the scores at a place weigh together."""
        return self.totals.item(place)

    def scores(self, place: int) -> Scores[float]:
        """Return the scores at a place."""
        columns = self.columns
        headroom, exhaustion = columns.headroom, columns.exhaustion
        return Scores(
            cost=columns.cost.item(place),
            reliability=columns.reliability.item(place),
            fairness=columns.fairness.item(place),
            latency=columns.latency.item(place),
            quality=columns.quality.item(place),
            headroom=None if headroom is None else headroom.item(place),
            exhaustion=None if exhaustion is None else exhaustion.item(place),
            cost_bound_nano_usd=columns.cost_bound_nano_usd.item(place),
            latency_us=columns.latency_us.item(place),
        )


def rank_few(each: list[Scores[float]], policy: Policy) -> FewRanked:
    """Weigh the scores of a few candidates."""
    return FewRanked(each, [combine(scores, policy) for scores in each])


def rank_all(columns: Scores[Floats], policy: Policy) -> AllRanked:
    """Weigh the scores of many candidates."""
    return AllRanked(columns, combine(columns, policy))
