"""How providers do: stream provider-<id>."""

from apikeyrouter.domain.vocabulary.shape import Event, EventRef


class ProviderHealthChanged(Event, frozen=True, kw_only=True, gc=False):
    """A provider moved from one health to another; `until_us` is when it is tried again."""

    actor: str
    provider_id: str
    from_health: str
    to_health: str
    trigger: str
    until_us: int | None = None
    evidence: tuple[EventRef, ...] = ()
