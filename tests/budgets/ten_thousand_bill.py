"""What the router settled beside what the providers billed, attempt by attempt, to the nano-dollar."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from ten_thousand_ledger import ceil_of
from ten_thousand_load import PRICES

from apikeyrouter.domain.events import (
    AttemptFailed,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
)
from apikeyrouter.interfaces.scripted_provider import Call, LedgerView

MEASURED, BOUNDED = "provider", "bounded"


@dataclass
class Attempt:
    """One decision for a key, and what was settled for it."""

    request: str
    provider_id: str
    key_id: str
    charged: int | None = None
    mark: str = ""
    reached: bool = True
    call: Call | None = None

    @property
    def billed(self) -> int:
        return 0 if self.call is None else self.call.cost_nano_usd or 0


@dataclass
class Books:
    """All attempts of a log, matched with the calls that the providers saw."""

    attempts: list[Attempt] = field(default_factory=list)
    strangers: list[Call] = field(default_factory=list)

    def measured(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.mark == MEASURED]

    def others(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.mark != MEASURED]


def attempts_of(events: Iterable[Recorded]) -> list[Attempt]:
    """List every attempt with what its end settled, and how that is marked."""
    attempts: list[Attempt] = []
    last: dict[str, Attempt] = {}
    for _, stream, _, event in events:
        match event:
            case RouteDecided():
                chosen = event.chosen
                last[stream] = Attempt(event.facts.correlation_id, chosen.provider_id, chosen.key_id)
                attempts.append(last[stream])
            case AttemptFailed():
                attempt = last[stream]
                attempt.charged, attempt.reached = event.charged_nano_usd, event.sent
                attempt.mark = f"failed: {event.failure}"
            case RequestCompleted() | RequestCancelled():
                last[stream].charged, last[stream].mark = event.cost_nano_usd, event.usage_source
            case RequestFailed() if event.cost_nano_usd:
                last[stream].charged, last[stream].mark = event.cost_nano_usd, event.usage_source
            case RequestReleased() if stream in last and last[stream].charged is None:
                last[stream].charged, last[stream].mark = event.charged_nano_usd, event.trigger
    return attempts


def matched(events: Iterable[Recorded], ledgers: dict[str, LedgerView], names: dict[str, str]) -> Books:
    """Match attempts with calls by what the caller named itself, the key, and their order."""
    calls: dict[tuple[str, str, str], list[Call]] = defaultdict(list)
    for provider_id, ledger in ledgers.items():
        for call in ledger.calls:
            calls[call.user or "", provider_id, call.key].append(call)
    books = Books(attempts_of(events))
    for attempt in books.attempts:
        waiting = calls[attempt.request, attempt.provider_id, names[attempt.key_id]]
        if attempt.reached and waiting:
            attempt.call = waiting.pop(0)
    books.strangers = [call for waiting in calls.values() for call in waiting]
    return books


def bill_of(provider_id: str, call: Call) -> int:
    """Price what a provider sent, by the list and in whole numbers."""
    input_price, output_price = PRICES[provider_id].get(call.model, (0, 0))
    return ceil_of(call.input_tokens * input_price + call.output_tokens * output_price, 1_000_000)
