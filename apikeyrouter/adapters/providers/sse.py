"""Split a byte stream into whole server-sent events, leaving their bytes untouched."""

import re
from collections.abc import Iterator

from apikeyrouter.adapters.providers.limits import MAX_EVENT_BYTES

# Two line ends in a row. A CR at the very end of what is there may yet become CRLF, so it does not count.
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?=[^\n]))(?:\r\n|\n|\r(?=[^\n]))")
_LONGEST_SPLIT_END = 3


class EventTooLongError(Exception):
    """One event grew past the bound; the stream cannot be followed any further."""


class EventSplitter:
    """Cut a stream after whole events, wherever the packets happened to be cut.

    `push` returns the bytes of all events that are whole now, ready to forward; the rest waits, and never
    grows past one event's bound.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._pending = bytearray()
        self._too_long = False

    def push(self, chunk: bytes) -> bytes:
        """Take bytes as they arrived; return whole events, or nothing yet."""
        if self.passes(chunk):
            return chunk
        search_from = max(0, len(self._pending) - _LONGEST_SPLIT_END)
        self._pending += chunk
        events = self._cut(search_from)
        if self._too_long and not events:
            raise EventTooLongError
        return events

    def passes(self, chunk: bytes) -> bool:
        """Tell whether `push` would return this very chunk and change nothing; False where it is not sure."""
        # The byte before the end must be of a line: in a longer run the last line end may open an event.
        is_whole = not self._pending and chunk.endswith(b"\n\n") and chunk[-3:-2] > b"\r"
        return is_whole and len(chunk) <= self._max_event_bytes

    def finish(self) -> bytes:
        """At the end of the stream, return a last event whose end was a CR; anything else is incomplete."""
        rest = bytes(self._pending)
        self._pending.clear()
        return rest if _EVENT_END.search(rest + b" ", max(0, len(rest) - _LONGEST_SPLIT_END)) else b""

    @property
    def waiting(self) -> bool:
        """Tell whether an event has begun and not ended."""
        return bool(self._pending)

    def _cut(self, search_from: int) -> bytes:
        end = 0
        for boundary in _EVENT_END.finditer(self._pending, search_from):
            if boundary.end() - end > self._max_event_bytes:
                break
            end = boundary.end()
        self._too_long = len(self._pending) - end > self._max_event_bytes
        events = bytes(self._pending[:end])
        self._pending = self._pending[end:]
        return events


def events_of(batch: bytes) -> Iterator[bytes]:
    """Yield the events of a batch of whole ones, each with its end."""
    if batch.find(b"\r") < 0:
        *events, rest = batch.split(b"\n\n")
        yield from (event + b"\n\n" for event in events)
        if rest:
            yield rest
        return
    start = 0
    for boundary in _EVENT_END.finditer(batch):
        yield batch[start : boundary.end()]
        start = boundary.end()
    if start < len(batch):
        yield batch[start:]


def data_of(event: bytes) -> bytes | None:
    """Return the data of one event, its lines joined; None for comments and the like."""
    lines = [_value(line) for line in event.splitlines() if line == b"data" or line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def _value(line: bytes) -> bytes:
    return line[5:].removeprefix(b" ")
