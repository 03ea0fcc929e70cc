"""What the demo shows, as a fold over the log: every number on the screen comes from here."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from apikeyrouter.domain.events import (
    AttemptFailed,
    KeyRegistered,
    KeyRevoked,
    KeyStateChanged,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteRefused,
)


class KeyRow(msgspec.Struct, kw_only=True):
    """One key in numbers."""

    key_id: str
    label: str
    provider_id: str
    note: str
    state: str = "available"
    until_us: int | None = None
    calls: int = 0
    answered: int = 0
    failed: int = 0
    tokens: int = 0
    cost_nano_usd: int = 0


class Totals(msgspec.Struct, kw_only=True):
    """All requests in numbers. `absorbed` counts upstream failures that no client saw."""

    events: int = 0
    decisions: int = 0
    answered: int = 0
    failed: int = 0
    refused: int = 0
    cancelled: int = 0
    upstream_failures: int = 0
    absorbed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0

    @property
    def ended(self) -> int:
        """Requests that ended in any way."""
        return self.answered + self.failed + self.refused + self.cancelled


class Scoreboard:
    """The fold."""

    def __init__(self) -> None:
        self.position = 0
        self.latest_us = 0
        self.rows: dict[str, KeyRow] = {}
        self.totals = Totals()
        self.failures: Counter[str] = Counter()
        self.elapsed_us: list[int] = []
        self.most_attempts = ("", 0)
        self._open_failures: Counter[str] = Counter()

    def take(self, batch: Iterable[Recorded]) -> None:
        """Take in events that are durable, in their order."""
        for recorded in batch:
            self.position = recorded.position
            self.latest_us = max(self.latest_us, recorded.event.at_us)
            self.totals.events += 1
            self._take(recorded)

    @property
    def labels(self) -> dict[str, str]:
        """The names of the keys."""
        return {row.key_id: row.label for row in self.rows.values()}

    def _take(self, recorded: Recorded) -> None:
        stream = recorded.stream
        match recorded.event:
            case KeyRegistered() | KeyStateChanged() | KeyRevoked() as event:
                self._key_changed(stream.removeprefix("key-"), event)
            case RouteDecided() as decided:
                self.totals.decisions += 1
                self.rows[decided.chosen.key_id].calls += 1
            case AttemptFailed() as failed:
                self.rows[failed.key_id].failed += 1
                self.totals.upstream_failures += 1
                self.failures[failed.failure] += 1
                self._open_failures[stream] += 1
            case RequestCompleted() as completed:
                self._completed(stream, completed)
            case RouteRefused() | RequestFailed() | RequestCancelled() | RequestReleased() as end:
                self._ended_otherwise(stream, end)

    def _key_changed(self, key_id: str, event: KeyRegistered | KeyStateChanged | KeyRevoked) -> None:
        match event:
            case KeyRegistered():
                self.rows[key_id] = KeyRow(
                    key_id=key_id,
                    label=str(event.metadata.get("label") or key_id),
                    provider_id=event.provider_id,
                    note=str(event.metadata.get("note") or ""),
                )
            case KeyStateChanged():
                self.rows[key_id].state = event.to_state
                self.rows[key_id].until_us = event.until_us
            case KeyRevoked():
                self.rows[key_id].state = "revoked"

    def _completed(self, stream: str, completed: RequestCompleted) -> None:
        totals, row = self.totals, self.rows[completed.key_id]
        row.answered += 1
        totals.answered += 1
        totals.absorbed += self._open_failures.pop(stream, 0)
        self.elapsed_us.append(completed.elapsed_us)
        self.most_attempts = max(self.most_attempts, (stream, completed.attempt), key=lambda one: one[1])
        self._spend(row, completed)

    def _ended_otherwise(self, stream: str, end: Any) -> None:
        self._open_failures.pop(stream, None)
        match end:
            case RouteRefused():
                self.totals.decisions += 1
                self.totals.refused += 1
            case RequestFailed():
                self.totals.failed += 1
                self._spend(None, end)
            case RequestCancelled():
                self.totals.cancelled += 1
                self._spend(self.rows[end.key_id], end)
            case RequestReleased():
                self.totals.cancelled += 1

    def _spend(self, row: KeyRow | None, end: RequestCompleted | RequestFailed | RequestCancelled) -> None:
        self.totals.input_tokens += end.input_tokens
        self.totals.output_tokens += end.output_tokens
        self.totals.cost_nano_usd += end.cost_nano_usd or 0
        if row is not None:
            row.tokens += end.input_tokens + end.output_tokens
            row.cost_nano_usd += end.cost_nano_usd or 0
