"""Events to stored names and bytes, and back, through the closed table of event types.

A name in the store is looked up, never imported. What is stored in a former shape is read as today's.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from apikeyrouter.domain.events import EVENT_NAMES, EVENT_TYPES, Event, canonical_bytes
from apikeyrouter.domain.former_events import FORMER_TYPES
from apikeyrouter.domain.models.system_error import ErrorCategory, SystemError  # noqa: A004 - published name


class EventMappingError(SystemError):
    """An event cannot be stored, or what is stored is no event that we know."""

    category = ErrorCategory.AuditUnavailable
    code = "event_mapping"


def _upcasting(shape: type[Event], upcast: Callable[[Any], Event]) -> Callable[[bytes], Event]:
    decode = msgspec.json.Decoder(shape).decode
    return lambda state: upcast(decode(state))


_DECODE: dict[str, Callable[[bytes], Event]] = {
    **{name: msgspec.json.Decoder(event_type).decode for name, event_type in EVENT_TYPES.items()},
    **{name: _upcasting(*former) for name, former in FORMER_TYPES.items()},
}


def to_stored(event: Event) -> tuple[str, bytes]:
    """Return the stable name and the bytes of an event; the same event always gives the same bytes."""
    try:
        name = EVENT_NAMES[type(event)]
        state = canonical_bytes(event)
        # JSON has no NaN and no infinity: they are written as null, and then no reader could take them back.
        if state.find(b"null") >= 0:
            _DECODE[name](state)
    except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
        raise EventMappingError(f"an event of type {type(event).__name__} cannot be stored") from error
    return name, state


def from_stored(stream: str, version: int, name: str, state: bytes) -> Event:
    """Return the event that was stored under a name, or say which place of the log cannot be read."""
    decode = _DECODE.get(name)
    if decode is None:
        raise EventMappingError(f"unknown event type {name!r:.80} at {_place(stream, version)}")
    try:
        return decode(state)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise EventMappingError(f"undecodable {name} at {_place(stream, version)}") from error


def _place(stream: str, version: int) -> str:
    return f"version {version!r:.20} of stream {stream!r:.120}"
