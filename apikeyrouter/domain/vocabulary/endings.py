"""How requests end, and what they consumed: stream request-<id>."""

from apikeyrouter.domain.vocabulary.catalogue import Prices
from apikeyrouter.domain.vocabulary.shape import Event


class Consumption(Event, frozen=True, kw_only=True, gc=False):
    """What every settlement tells beside its whole counts: parts with prices of their own, and the prices.

    Parts are counted within the input and the output that they belong to. `price_source` is who said the
    prices: "administrator", "offer" or "book", and `price_book` the hash of that book.
    """

    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    audio_input_tokens: int = 0
    image_input_tokens: int = 0
    reasoning_tokens: int = 0
    audio_output_tokens: int = 0
    image_output_tokens: int = 0
    prices_nano_usd_per_million: Prices | None = None
    price_source: str | None = None
    price_book: str | None = None


class RequestCompleted(Consumption, frozen=True, kw_only=True, gc=False):
    """The settlement: what was consumed and what it cost. `cost_nano_usd` None: no price is known."""

    attempt: int
    key_id: str
    provider_id: str
    model: str
    input_tokens: int
    output_tokens: int
    usage_source: str
    cost_nano_usd: int | None = None
    finish_reason: str | None = None
    elapsed_us: int
    first_byte_us: int
    response_bytes: int
    response_sha256: str
    upstream_request_id: str | None = None


class RequestFailed(Consumption, frozen=True, kw_only=True, gc=False):
    """The request ended without a whole answer; the last attempt's failure tells why.

    Tokens and cost are not zero where a stream broke after text had been produced.
    """

    attempts: int
    failure: str
    status: int
    input_tokens: int = 0
    output_tokens: int = 0
    usage_source: str = "none"
    cost_nano_usd: int | None = 0
    response_bytes: int = 0


class RequestCancelled(Consumption, frozen=True, kw_only=True, gc=False):
    """The client left. What was produced by then is settled, measured or bounded."""

    attempt: int
    key_id: str
    provider_id: str
    phase: str
    input_tokens: int
    output_tokens: int
    usage_source: str
    cost_nano_usd: int | None = None
    elapsed_us: int
    response_bytes: int


class RequestReleased(Event, frozen=True, kw_only=True, gc=False):
    """A request was closed without an outcome: its process died, or its client left before the call.

    What a dead process may have sent counts as consumed at its bound, `charged_nano_usd` of money.
    """

    attempt: int
    key_id: str
    trigger: str
    charged_nano_usd: int = 0
