"""The fold: everything the router knows, as a function of the events in their order.

The same fold serves live routing, recovery, replay and as-of queries. It never refuses and never raises on
an event it does not know. It is changed in place for speed, and by `evolve` alone.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from apikeyrouter.domain.budget_folds import BUDGET_FOLDS
from apikeyrouter.domain.budgets import Budgets
from apikeyrouter.domain.catalogue_folds import CATALOGUE_FOLDS, Provider
from apikeyrouter.domain.columns import KeyColumns
from apikeyrouter.domain.events import Event, EventRef, ModelsEquated, NewEvent, Prices, Recorded
from apikeyrouter.domain.expectations import Expectations
from apikeyrouter.domain.holds import HOLD_FOLDS, Holds
from apikeyrouter.domain.keys import Key
from apikeyrouter.domain.payloads import PAYLOAD_FOLDS, Payloads
from apikeyrouter.domain.price_book import PriceBook
from apikeyrouter.domain.provider_health import Health, ProviderHealth
from apikeyrouter.domain.quotas import Quotas
from apikeyrouter.domain.reconciliation import Reconciliation
from apikeyrouter.domain.request_folds import REQUEST_FOLDS, OpenRequest
from apikeyrouter.domain.retention import RETENTION_FOLDS, Retention

MOST_DENIED_MODELS = 1_000
"""Clients choose the names of models, so what is remembered by them is bounded; the oldest is dropped."""

_OF_ONE_REQUEST = ("request-", "payload-")
"""Streams of which there are as many as requests, so that their versions are not kept in memory."""

_EVOLVE: dict[type[Event], Callable[["RouterState", str, int, Any], None]] = {
    **BUDGET_FOLDS,
    **CATALOGUE_FOLDS,
    **REQUEST_FOLDS,
    **HOLD_FOLDS,
    **RETENTION_FOLDS,
    **PAYLOAD_FOLDS,
}


class RouterState:
    """Keys, providers and open requests at one position of the log."""

    def __init__(self) -> None:
        self.position = 0
        self.latest_us = 0
        self.versions: dict[str, int] = {}
        self.keys: dict[str, Key] = {}
        self.key_ids: list[str] = []
        self.fingerprints: dict[str, str] = {}
        self.providers: dict[str, Provider] = {}
        self.price_book: PriceBook | None = None
        self.price_book_ref: EventRef | None = None
        self.set_prices: dict[str, dict[str, Prices]] = {}
        self.open_requests: dict[str, OpenRequest] = {}
        self.columns = KeyColumns()
        self.resting: dict[str, int] = {}
        self.health: dict[str, ProviderHealth] = {}
        self.unwell: dict[str, int | None] = {}
        self.quotas = Quotas()
        self.budgets = Budgets()
        self.expectations = Expectations()
        self.reconciliation = Reconciliation()
        self.equated: dict[str, ModelsEquated] = {}
        self.refusals_us: dict[str, deque[int]] = {}
        self.denied: dict[str, set[int]] = {}
        self.holds = Holds()
        self.retention = Retention()
        self.payloads = Payloads()
        self.next_wake_us: int | None = None
        self.pools: dict[object, Any] = {}

    def evolve(self, position: int, stream: str, version: int, event: Event) -> None:
        """Take in the next event."""
        self.position = position
        self.advance(event.at_us)
        evolve = _EVOLVE.get(type(event))
        if not stream.startswith(_OF_ONE_REQUEST):
            self.versions[stream] = version
        if evolve is not None:
            evolve(self, stream, version, event)
        self.quotas.foresee(self.latest_us)

    def advance(self, now_us: int) -> int:
        """Let what has left its window go; return the present, which never lies before the latest event."""
        now_us = self.latest_us = max(self.latest_us, now_us)
        self.quotas.accounts.advance(now_us)
        self.budgets.advance(now_us)
        return now_us

    def fold(self, events: Iterable[Recorded]) -> "RouterState":
        """Take in recorded events in their order."""
        for recorded in events:
            self.evolve(*recorded)
        return self

    def apply(self, events: Iterable[NewEvent]) -> None:
        """Take in events on their way into the log, at the positions they are about to get."""
        for position, (stream, version, event) in enumerate(events, self.position + 1):
            self.evolve(position, stream, version, event)

    def next_version(self, stream: str) -> int:
        """Return the version that the next event of a stream will have; not for streams of one request."""
        return self.versions.get(stream, 0) + 1

    def replace_key(self, key: Key, ref: EventRef) -> None:
        """Put a key's new shape in place, with its row and its wake-up time."""
        self.keys[key.key_id] = key
        self.columns.set_state(key.row, key.state, ref)
        self.columns.set_trial(key.row, on_trial=key.on_trial)
        if key.until_us is not None:
            self.resting[key.key_id] = key.until_us
        else:
            self.resting.pop(key.key_id, None)
        self._set_next_wake()

    def replace_health(self, health: ProviderHealth) -> None:
        """Put a provider's new health in place, for all its keys, with its wake-up time."""
        self.health[health.provider_id] = health
        if health.health is Health.Healthy:
            self.unwell.pop(health.provider_id, None)
        else:
            self.unwell[health.provider_id] = health.until_us
        rows = [key.row for key in self.keys.values() if key.provider_id == health.provider_id]
        self.columns.set_reachable(rows, reachable=health.health is not Health.Down)
        self._set_next_wake()

    def deny_model(self, model: str, row: int) -> None:
        """Remember that a provider denied a model to the key in this row."""
        if model not in self.denied and len(self.denied) >= MOST_DENIED_MODELS:
            del self.denied[next(iter(self.denied))]
        self.denied.setdefault(model, set()).add(row)

    def allow_model(self, model: str, row: int) -> None:
        """Forget that, for the model was served."""
        rows = self.denied.get(model)
        if rows is not None:
            rows.discard(row)
            if not rows:
                del self.denied[model]

    def allow_all_models(self, row: int) -> None:
        """Forget it for every model: the key is not what it was."""
        for model in list(self.denied):
            self.allow_model(model, row)

    def _set_next_wake(self) -> None:
        wakes = [
            *self.resting.values(),
            *(until_us for until_us in self.unwell.values() if until_us is not None),
        ]
        self.next_wake_us = min(wakes, default=None)
