"""What is on offer, and at which prices: stream catalogue."""

import msgspec

from apikeyrouter.domain.vocabulary.shape import Event


class ModelOffer(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One model as a provider sells it. Prices are nano-USD per million tokens; None is unknown."""

    model: str
    input_nano_usd_per_mtok: int | None = None
    output_nano_usd_per_mtok: int | None = None
    quality: float = 0.5
    capabilities: tuple[str, ...] | None = None
    max_output_tokens: int | None = None


class ProviderRegistered(Event, frozen=True, kw_only=True, gc=False):
    """A provider can be routed to. No models listed means: the upstream alone knows what it serves."""

    actor: str
    provider_id: str
    kind: str
    base_url: str | None = None
    models: tuple[ModelOffer, ...] = ()


class Prices(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What a million of each costs, in nano-USD; `request` is a million requests, all others are tokens.

    A part without a price of its own costs what the whole does: cached input what input does.
    """

    input: int | None = None
    output: int | None = None
    cached_input: int | None = None
    cache_write: int | None = None
    audio_input: int | None = None
    image_input: int | None = None
    reasoning: int | None = None
    audio_output: int | None = None
    image_output: int | None = None
    request: int | None = None


class PriceBookAdopted(Event, frozen=True, kw_only=True, gc=False):
    """A book of prices is in force from here on. It is here whole, for what it was taken from may change.

    `content` is the book's JSON, deflated by zlib, in base64; `sha256` is that of the JSON.
    """

    actor: str
    source: str
    source_version: str
    sha256: str
    models: int
    content: str


class PriceSet(Event, frozen=True, kw_only=True, gc=False):
    """An administrator set the price of a model at a provider, above all lists and books, or withdrew it."""

    actor: str
    provider_id: str
    model: str
    prices_nano_usd_per_million: Prices | None = None


class ModelsEquated(Event, frozen=True, kw_only=True, gc=False):
    """An administrator said what may serve requests for a model: equals always, cheaper ones by downgrade.

    Both empty: only the model itself again.
    """

    actor: str
    model: str
    equivalents: tuple[str, ...] = ()
    cheaper: tuple[str, ...] = ()
