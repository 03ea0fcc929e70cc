"""Keep the usage event, which we always ask for, from clients that did not ask for it."""

EMPTY_CHOICES = (b'"choices":[]', b'"choices": []')
EVENT_END = b"\n\n"


def without_usage_events(chunk: bytes) -> bytes:
    """Drop events whose list of choices is empty: OpenAI's usage event, and nothing else, looks so."""
    if not _is_usage(chunk):
        return chunk
    events = chunk.replace(b"\r\n", b"\n").split(EVENT_END)
    return EVENT_END.join(event for event in events if not _is_usage(event))


def _is_usage(event: bytes) -> bool:
    # `find`, because `in` first tries to read the mark as a number, and that failure costs twice the search.
    return event.find(b'"usage"') >= 0 and any(mark in event for mark in EMPTY_CHOICES)
