"""What all events share: where they stand, and when they were decided."""

import msgspec

Metadata = dict[str, str | int | float | bool | list[str] | None]


class EventRef(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where an event stands: its stream and its version in it. The currency of evidence."""

    stream: str
    version: int


class Event(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, forbid_unknown_fields=True
):
    """What every event carries: the instant at which it was decided."""

    at_us: int
