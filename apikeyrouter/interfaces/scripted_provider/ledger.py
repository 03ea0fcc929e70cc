"""What the provider saw: calls by key label, tokens and a bill. Keys appear by label, never by material."""

from collections import deque
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from apikeyrouter.domain.events import ModelOffer
from apikeyrouter.domain.interfaces.provider_adapter import Usage
from apikeyrouter.domain.pricing import cost_nano_usd, price_of_offer

T = TypeVar("T")


class Call(msgspec.Struct, kw_only=True):
    """One call as the provider saw it; tokens are those that were sent, `user` is the body's field.

    `outcome` is open, answered, cut (by script or shutdown) or aborted (the client left, at `ended_us`).
    """

    number: int
    key: str
    operation: str
    at_us: int
    request_id: str | None = None
    model: str = ""
    user: str | None = None
    stream: bool = False
    outcome: str = "open"
    status: int | None = None
    fault: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int | None = None
    ended_us: int | None = None


class BillLine(msgspec.Struct, kw_only=True):
    """What one key owes for one model; a None cost is an unpriced model."""

    key: str
    model: str
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int | None = None


class KeyTally(msgspec.Struct, kw_only=True):
    """Everything about one key in numbers. `open` counts calls that stand on a connection now."""

    calls: int = 0
    by_status: dict[int, int] = {}
    by_fault: dict[str, int] = {}
    input_tokens: int = 0
    output_tokens: int = 0
    open: int = 0
    most_open: int = 0
    held: int = 0
    aborted: int = 0
    cut: int = 0
    first_call_us: int | None = None
    last_call_us: int | None = None
    last_aborted_us: int | None = None


class LedgerView(msgspec.Struct, kw_only=True):
    """The ledger at one moment."""

    now_us: int
    connections_made: int
    connections_open: int
    unknown_key_calls: int
    keys: dict[str, KeyTally]
    bill: list[BillLine]
    calls: list[Call]


class Ledger:
    """Tallies, bill and the last calls, kept as calls come and go."""

    def __init__(self, remembered_calls: int) -> None:
        self.unknown_key_calls = 0
        self.tallies: dict[str, KeyTally] = {}
        self.calls: deque[Call] = deque(maxlen=remembered_calls)
        self._bill: dict[tuple[str, str], BillLine] = {}
        self._number = 0

    def tally(self, key: str) -> KeyTally:
        """Return the numbers of a key, from zero if it is new."""
        return self.tallies.setdefault(key, KeyTally())

    def open(self, key: str, operation: str, at_us: int, request_id: str | None) -> Call:
        """Enter a call that just came in."""
        self._number += 1
        call = Call(number=self._number, key=key, operation=operation, at_us=at_us, request_id=request_id)
        tally = self.tally(key)
        tally.calls += 1
        tally.open += 1
        tally.most_open = max(tally.most_open, tally.open)
        tally.first_call_us = tally.first_call_us or at_us
        tally.last_call_us = at_us
        self.calls.append(call)
        return call

    def close(self, call: Call, ended_us: int, offers: Mapping[str, ModelOffer]) -> None:
        """Enter how a call ended, and bill what was sent."""
        call.ended_us = ended_us
        if call.outcome == "open":
            call.outcome = "cut"  # the provider itself was stopped
        tally = self.tally(call.key)
        tally.open -= 1
        count(tally.by_status, call.status)
        count(tally.by_fault, call.fault)
        tally.cut += call.outcome == "cut"
        if call.outcome == "aborted":
            tally.aborted += 1
            tally.last_aborted_us = ended_us
        if call.input_tokens or call.output_tokens:
            tally.input_tokens += call.input_tokens
            tally.output_tokens += call.output_tokens
            self._charge(call, offers.get(call.model))

    def _charge(self, call: Call, offer: ModelOffer | None) -> None:
        usage = Usage(call.input_tokens, call.output_tokens)
        call.cost_nano_usd = cost_nano_usd(price_of_offer(offer), usage)
        line = self._bill.setdefault((call.key, call.model), BillLine(key=call.key, model=call.model))
        line.calls += 1
        line.input_tokens += call.input_tokens
        line.output_tokens += call.output_tokens
        if call.cost_nano_usd is not None:
            line.cost_nano_usd = (line.cost_nano_usd or 0) + call.cost_nano_usd

    def view(self, now_us: int, *, connections_made: int, connections_open: int, calls: int) -> LedgerView:
        """Return a copy that stands still, with the last `calls` calls."""
        recent = list(self.calls)[-calls:] if calls else []
        return LedgerView(
            now_us=now_us,
            connections_made=connections_made,
            connections_open=connections_open,
            unknown_key_calls=self.unknown_key_calls,
            keys={key: still(tally) for key, tally in self.tallies.items()},
            bill=[msgspec.structs.replace(line) for line in self._bill.values()],
            calls=[msgspec.structs.replace(call) for call in recent],
        )


def count(counts: dict[T, int], what: T | None) -> None:
    """Add one to a count, unless there is nothing to count."""
    if what is not None:
        counts[what] = counts.get(what, 0) + 1


def still(tally: KeyTally) -> KeyTally:
    """Copy a tally with its tables."""
    return msgspec.structs.replace(tally, by_status=dict(tally.by_status), by_fault=dict(tally.by_fault))
