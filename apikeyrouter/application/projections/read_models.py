"""All read models, in the order in which they are kept."""

from collections.abc import Iterable

from apikeyrouter.application.projections import (
    access,
    acts,
    attempts,
    budgets,
    decisions,
    key_life,
    leases,
    payloads,
    quota_use,
    requests,
    segments,
)
from apikeyrouter.application.projections.tables import Change, Projection, ReadModel
from apikeyrouter.domain.events import Event, Recorded

READ_MODELS: dict[str, ReadModel] = {
    model.name: model
    for model in (
        requests.MODEL,
        attempts.MODEL,
        decisions.MODEL,
        key_life.MODEL,
        quota_use.MODEL,
        budgets.MODEL,
        leases.MODEL,
        acts.MODEL,
        access.MODEL,
        payloads.MODEL,
        segments.MODEL,
    )
}
"""Spend is told from attempts, refusals from decisions: views beside the tables name them."""


class Projections:
    """The functions of some read models by the type of event that they are about."""

    def __init__(self, models: Iterable[ReadModel]) -> None:
        self._by_type: dict[type[Event], list[Projection]] = {}
        for model in models:
            for kind, projection in model.projections.items():
                self._by_type.setdefault(kind, []).append(projection)

    def changes(self, batch: Iterable[Recorded]) -> Iterable[Change]:
        """Yield what a stretch of the log changes, in its order."""
        by_type, nothing = self._by_type, ()
        for recorded in batch:
            event = recorded.event
            for projection in by_type.get(type(event), nothing):
                yield from projection(recorded, event)
