"""A log in which every call of one key is refused, and each refusal stands in its streams."""

from collections.abc import Iterator
from itertools import count

import msgspec

from apikeyrouter.domain.events import (
    AttemptFailed,
    EventRef,
    KeyStateChanged,
    NewEvent,
    QuotaCorrected,
    RouteDecided,
    key_stream,
    quota_stream,
    request_stream,
)
from benchmarks.varied_history import VariedHistory

EVENTS_A_REQUEST = 4


def crowded(events: int) -> Iterator[NewEvent]:
    """Yield about so many events: requests of four each, which no state was folded from."""
    history = VariedHistory(1, events)
    opening = history.opening()
    yield from opening
    decided = next(one.event for one in history.serve() if isinstance(one.event, RouteDecided))
    key_id, account = decided.chosen.key_id, decided.reserved[0].account
    key, quota = key_stream(key_id), quota_stream(account)
    versions = count(2), count(1)
    for number in range((events - len(opening)) // EVENTS_A_REQUEST):
        stream, at_us = request_stream(f"{number:032x}"), decided.at_us + number
        evidence = (EventRef(stream, 2),)
        yield NewEvent(stream, 1, msgspec.structs.replace(decided, at_us=at_us))
        yield NewEvent(stream, 2, _refused(decided, at_us))
        yield NewEvent(key, next(versions[0]), _throttled(at_us, evidence))
        corrected = QuotaCorrected(
            at_us=at_us, account=account, remaining=0, until_us=at_us, evidence=evidence
        )
        yield NewEvent(quota, next(versions[1]), corrected)


def _refused(decided: RouteDecided, at_us: int) -> AttemptFailed:
    return AttemptFailed(
        at_us=at_us,
        attempt=1,
        key_id=decided.chosen.key_id,
        provider_id=decided.chosen.provider_id,
        failure="rate_limited",
        effect="throttle",
        elapsed_us=1,
    )


def _throttled(at_us: int, evidence: tuple[EventRef, ...]) -> KeyStateChanged:
    return KeyStateChanged(
        at_us=at_us,
        actor="router",
        from_state="available",
        to_state="throttled",
        trigger="rate_limited",
        evidence=evidence,
    )
