"""Requests: one row each, from the first decision to the end."""

from apikeyrouter.application.projections.paths import path_of, path_of_choice
from apikeyrouter.application.projections.tables import CallPath, Change, Column, ReadModel, Rule, Table
from apikeyrouter.domain.events import (
    AttemptFailed,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFacts,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
)

REQUESTS = Table(
    name="requests",
    columns={
        "request_id": Column(str),
        "path_id": Column(int, Rule.Last),
        "requested_model": Column(str),
        "streamed": Column(int),
        "begun_position": Column(int, Rule.Least),
        "begun_at_us": Column(int),
        "attempts": Column(int, Rule.Greatest),
        "waits": Column(int, Rule.Sum),
        "last_position": Column(int, Rule.Greatest),
        "events": Column(int, Rule.Sum),
        "ended_at_us": Column(int),
        "state": Column(str),
        "reason": Column(str),
        "status": Column(int),
        "elapsed_us": Column(int),
        "first_byte_us": Column(int),
        "finish_reason": Column(str),
    },
    key=("request_id",),
    appends=False,
)
TAGS = Table(
    name="request_tags",
    columns={"request_id": Column(str), "tag": Column(str)},
    key=("request_id", "tag"),
    appends=False,
)

_STEP = REQUESTS.writing(
    "request_id",
    "path_id",
    "requested_model",
    "streamed",
    "begun_position",
    "begun_at_us",
    "attempts",
    "waits",
    "last_position",
    "events",
)
_END = REQUESTS.writing(
    "request_id",
    "last_position",
    "events",
    "ended_at_us",
    "state",
    "reason",
    "status",
    "elapsed_us",
    "first_byte_us",
    "finish_reason",
)
_TAG = TAGS.writing()


def _decided(place: Recorded, event: RouteDecided) -> list[Change]:
    return _stepped(place, event.facts, path_of_choice(event), attempts=event.attempt)


def _deferred(place: Recorded, event: RouteDeferred) -> list[Change]:
    path = path_of(event.facts, None) if event.attempt == 1 else None
    return _stepped(place, event.facts, path, attempts=event.attempt - 1, waits=1)


def _refused(place: Recorded, event: RouteRefused) -> list[Change]:
    """Keep the path of the last call, if there was one: the refusal has no key to tell of."""
    path = path_of(event.facts, event.policy.objective) if event.attempt == 1 else None
    end = _ended(place, "refused", reason=event.reason, counted=0)
    return [*_stepped(place, event.facts, path, attempts=event.attempt - 1), end]


def _attempt_failed(place: Recorded, _event: AttemptFailed) -> list[Change]:
    nothing_more = (None,) * 6
    return [(_END, (_request_id(place), place.position, 1, None, *nothing_more))]


def _completed(place: Recorded, event: RequestCompleted) -> list[Change]:
    ended = (
        _request_id(place),
        place.position,
        1,
        event.at_us,
        "completed",
        None,
        None,
        event.elapsed_us,
        event.first_byte_us,
        event.finish_reason,
    )
    return [(_END, ended)]


def _failed(place: Recorded, event: RequestFailed) -> list[Change]:
    return [_ended(place, "failed", reason=event.failure, status=event.status)]


def _cancelled(place: Recorded, event: RequestCancelled) -> list[Change]:
    return [_ended(place, "cancelled", reason=event.phase, elapsed_us=event.elapsed_us)]


def _released(place: Recorded, event: RequestReleased) -> list[Change]:
    return [_ended(place, "released", reason=event.trigger)]


def _stepped(
    place: Recorded, facts: RequestFacts, path: CallPath | None, *, attempts: int, waits: int = 0
) -> list[Change]:
    request_id, position = _request_id(place), place.position
    step = (
        request_id,
        path,
        facts.model,
        int(facts.stream),
        position,
        place.event.at_us,
        attempts,
        waits,
        position,
        1,
    )
    return [(_STEP, step), *((_TAG, (request_id, tag)) for tag in facts.tags)]


def _ended(
    place: Recorded,
    state: str,
    *,
    reason: str,
    status: int | None = None,
    elapsed_us: int | None = None,
    counted: int = 1,
) -> Change:
    """Tell an end; `counted` is 0 for an event that was counted as a step already."""
    position, at_us = place.position, place.event.at_us
    ended = (_request_id(place), position, counted, at_us, state, reason, status, elapsed_us, None, None)
    return _END, ended


def _request_id(place: Recorded) -> str:
    return place.stream.removeprefix("request-")


MODEL = ReadModel(
    name="requests",
    about="One row a request: who asked, through what it went last, how it ended, how long it took.",
    tables=(REQUESTS, TAGS),
    projections={
        RouteDecided: _decided,
        RouteDeferred: _deferred,
        RouteRefused: _refused,
        AttemptFailed: _attempt_failed,
        RequestCompleted: _completed,
        RequestFailed: _failed,
        RequestCancelled: _cancelled,
        RequestReleased: _released,
    },
)
