"""Administrators' acts: every event that names an actor other than the router itself."""

from typing import Any

import msgspec

from apikeyrouter.application.projections.tables import Change, Column, Projection, ReadModel, Table
from apikeyrouter.domain.events import EVENT_NAMES, EVENT_TYPES, Event, Recorded
from apikeyrouter.domain.keys import ROUTER

ACTS = Table(
    name="acts",
    columns={
        "position": Column(int),
        "stream": Column(str),
        "version": Column(int),
        "at_us": Column(int),
        "actor": Column(str),
        "act": Column(str),
        "subject": Column(str),
        "detail": Column(str),
    },
)
_ACT = ACTS.writing()
_TOLD_BESIDE = frozenset({"at_us", "actor", "content", "fingerprint", "evidence", "runs", "subjects"})
"""What has columns of its own, or is of no use to a reader: hashes, a whole book of prices, long lists."""
_SUBJECTS = ("provider_id", "model", "source")


def _acted(place: Recorded, event: Any) -> list[Change]:
    if event.actor == ROUTER:
        return []
    fields = {name: value for name, value in msgspec.to_builtins(event).items() if name not in _TOLD_BESIDE}
    act = EVENT_NAMES[type(event)].rpartition(".")[0]
    detail = msgspec.json.encode(fields, order="sorted").decode()
    where = (place.position, place.stream, place.version, event.at_us)
    return [(_ACT, (*where, event.actor, act, _subject(place.stream, fields), detail))]


def _subject(stream: str, fields: dict[str, Any]) -> str:
    """Name what was acted upon: the key or budget whose stream it is, else what the event names."""
    _, dash, name = stream.partition("-")
    if dash:
        return name
    return next((str(fields[word]) for word in _SUBJECTS if fields.get(word)), stream)


def _by_actors() -> dict[type[Event], Projection]:
    return {kind: _acted for kind in EVENT_TYPES.values() if "actor" in kind.__struct_fields__}


MODEL = ReadModel(
    name="acts",
    about="Every change by an administrator: who, when, what, on what.",
    tables=(ACTS,),
    projections=_by_actors(),
)
