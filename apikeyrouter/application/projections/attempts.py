"""Attempts: one row a call to a provider, with what it consumed and what it cost.

What a request consumed belongs to its last call. A call that was sent and never answered may be charged for:
`charged_nano_usd` is the bound of that, and no part of `cost_nano_usd`.
"""

from apikeyrouter.application.projections.paths import path_of_choice
from apikeyrouter.application.projections.tables import Change, Column, ReadModel, Table
from apikeyrouter.domain.events import (
    AttemptFailed,
    Consumption,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
)

ATTEMPTS = Table(
    name="attempts",
    columns={
        "request_id": Column(str),
        "attempt": Column(int),
        "path_id": Column(int),
        "begun_position": Column(int),
        "begun_at_us": Column(int),
        "ended_position": Column(int),
        "ended_at_us": Column(int),
        "state": Column(str),
        "failure": Column(str),
        "status": Column(int),
        "effect": Column(str),
        "sent": Column(int),
        "elapsed_us": Column(int),
        "first_byte_us": Column(int),
        "charged_nano_usd": Column(int),
        "settled_position": Column(int),
        "settled_at_us": Column(int),
        "input_tokens": Column(int),
        "output_tokens": Column(int),
        "cached_input_tokens": Column(int),
        "reasoning_tokens": Column(int),
        "usage_source": Column(str),
        "cost_nano_usd": Column(int),
        "price_source": Column(str),
    },
    key=("request_id", "attempt"),
    appends=False,
)

_BEGIN = ATTEMPTS.writing("request_id", "attempt", "path_id", "begun_position", "begun_at_us")
_END = ATTEMPTS.writing("request_id", "attempt", *tuple(ATTEMPTS.columns)[5:])
_UNSETTLED = (None,) * 9

Settlement = RequestCompleted | RequestFailed | RequestCancelled


def _decided(place: Recorded, event: RouteDecided) -> list[Change]:
    begun = (_request_id(place), event.attempt, path_of_choice(event), place.position, event.at_us)
    return [(_BEGIN, begun)]


def _attempt_failed(place: Recorded, event: AttemptFailed) -> list[Change]:
    ended = (
        _request_id(place),
        event.attempt,
        place.position,
        event.at_us,
        "failed",
        event.failure,
        event.status,
        event.effect,
        int(event.sent),
        event.elapsed_us,
        None,
        event.charged_nano_usd or None,
        *_UNSETTLED,
    )
    return [(_END, ended)]


def _completed(place: Recorded, event: RequestCompleted) -> list[Change]:
    ended = (
        _request_id(place),
        event.attempt,
        place.position,
        event.at_us,
        "completed",
        None,
        None,
        None,
        1,
        event.elapsed_us,
        event.first_byte_us,
        None,
        *_settled(place, event),
    )
    return [(_END, ended)]


def _failed(place: Recorded, event: RequestFailed) -> list[Change]:
    """Settle what a broken answer had consumed; the failed call itself has ended before, as a rule."""
    if not event.attempts:
        return []
    return [_ended(place, event, event.attempts, "failed", failure=event.failure)]


def _cancelled(place: Recorded, event: RequestCancelled) -> list[Change]:
    return [
        _ended(place, event, event.attempt, "cancelled", failure=event.phase, elapsed_us=event.elapsed_us)
    ]


def _released(place: Recorded, event: RequestReleased) -> list[Change]:
    """Close the call that was under way, if one was: a request may be closed between two of them."""
    if not event.key_id:
        return []
    ended = (
        _request_id(place),
        event.attempt,
        place.position,
        event.at_us,
        "released",
        event.trigger,
        *(None,) * 5,
        event.charged_nano_usd or None,
        *_UNSETTLED,
    )
    return [(_END, ended)]


def _ended(
    place: Recorded,
    event: Settlement,
    attempt: int,
    state: str,
    *,
    failure: str,
    elapsed_us: int | None = None,
) -> Change:
    end = (place.position, event.at_us, state, failure, None, None, None, elapsed_us, None, None)
    return _END, (_request_id(place), attempt, *end, *_settled(place, event))


def _settled(place: Recorded, event: Settlement) -> tuple[int | str | None, ...]:
    if isinstance(event, RequestFailed) and event.usage_source == "none" and not event.cost_nano_usd:
        return _UNSETTLED
    return place.position, event.at_us, event.input_tokens, event.output_tokens, *_told(event)


def _told(event: Settlement) -> tuple[int | str | None, ...]:
    parts: Consumption = event
    return (
        parts.cached_input_tokens,
        parts.reasoning_tokens,
        event.usage_source,
        event.cost_nano_usd,
        parts.price_source,
    )


def _request_id(place: Recorded) -> str:
    return place.stream.removeprefix("request-")


MODEL = ReadModel(
    name="attempts",
    about="One row a call to a provider: how it ended, what it consumed, what it cost.",
    tables=(ATTEMPTS,),
    projections={
        RouteDecided: _decided,
        AttemptFailed: _attempt_failed,
        RequestCompleted: _completed,
        RequestFailed: _failed,
        RequestCancelled: _cancelled,
        RequestReleased: _released,
    },
)
