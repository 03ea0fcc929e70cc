"""A node without a loop for tests of money: the real journal, alerts, deciders and fold over a list."""

from collections.abc import Iterator

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.recover import _releases
from apikeyrouter.application.upkeep import Upkeep
from apikeyrouter.domain.events import (
    CATALOGUE_STREAM,
    LOG_STREAM,
    Event,
    EventRef,
    KeyRegistered,
    ModelOffer,
    NewEvent,
    NodeStarted,
    ProviderRegistered,
    Recorded,
    key_stream,
)
from apikeyrouter.domain.state import RouterState

START_US = 1_774_656_000_000_000  # 2026-03-28, the day before clocks change in Europe


class ListLog:
    """A log that is a list, and durable at once."""

    def __init__(self) -> None:
        self.recorded: list[Recorded] = []

    def append(self, events) -> None:
        for position, new in enumerate(events, len(self.recorded) + 1):
            self.recorded.append(Recorded(position, *new))

    def read(self) -> Iterator[Recorded]:
        return iter(self.recorded)


class MoneyNode:
    """Record what is told, alert as the line does, and start anew from the log."""

    def __init__(self, now_us: int = START_US) -> None:
        self.time_us = now_us
        self.log = ListLog()
        self._open()

    @property
    def state(self) -> RouterState:
        return self.journal.state

    def now_us(self) -> int:
        return self.time_us

    def elapsed_us(self) -> int:
        return 0

    def provider(
        self, provider_id: str, *models: ModelOffer, base_url: str | None = "https://api.openai.com/v1"
    ) -> None:
        event = ProviderRegistered(
            at_us=self.time_us,
            actor="t",
            provider_id=provider_id,
            kind="openai",
            base_url=base_url,
            models=models,
        )
        self.record(CATALOGUE_STREAM, event)

    def key(self, key_id: str, provider_id: str, **metadata) -> None:
        event = KeyRegistered(
            at_us=self.time_us,
            actor="t",
            provider_id=provider_id,
            fingerprint=f"print-{key_id}",
            metadata=metadata,
        )
        self.record(key_stream(key_id), event)

    def record(self, stream: str, event: Event) -> None:
        """Record an event that is not a request's."""
        self.journal.record_next(stream, event)

    def record_of_request(self, stream: str, event: Event) -> EventRef:
        """Record an event of a request, and the alerts that follow from it."""
        known = self.state.open_requests.get(stream)
        version = 1 if known is None else known.version + 1
        self.journal.record([NewEvent(stream, version, event)])
        ref = EventRef(stream, version)
        if self.state.budgets.due:
            self.upkeep.alert(event.at_us, ref)
        return ref

    def restart(self) -> list[NewEvent]:
        """Lose all memory, fold the log, and close what the dead process left open; return these ends.

        The start itself is recorded, as on every node: later clocks are set back from there.
        """
        self._open()
        self.journal.state = self.refolded()
        self.journal._met_us = self.state.latest_us
        self.record(LOG_STREAM, NodeStarted(at_us=self.time_us, node_id="node", version="0"))
        ends = _releases(self.journal, self.time_us)
        if ends:
            self.journal.record(ends)
        return ends

    def refolded(self) -> RouterState:
        return RouterState().fold(self.log.read())

    def _open(self) -> None:
        self.journal = Journal(self.log, self, "node")
        self.journal.ready = True
        self.upkeep = Upkeep(self.journal)
