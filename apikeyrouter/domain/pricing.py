"""What a use of a model costs: integer nano-USD, rounded up once a request, so never below the truth.

Parts that the provider counts apart (cached, audio, reasoning, …) have prices of their own where it says so.
"""

from collections.abc import Collection, Iterator
from decimal import ROUND_CEILING, Decimal

import msgspec

from apikeyrouter.domain.events import ModelOffer, Prices
from apikeyrouter.domain.interfaces.provider_adapter import Usage

NANO_PER_USD = 1_000_000_000
TOKENS_PER_PRICE = 1_000_000

ADMINISTRATOR = "administrator"
OFFER = "offer"
BOOK = "book"

MEDIA = ("audio", "vision")
"""The abilities without which a request has no input of the dearer kinds."""


class Tier(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The prices of all tokens of a request whose input is longer than this."""

    above_input_tokens: int
    prices: Prices


class Price(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a model costs at one instant, by whose word, and the hash of the book if that said so."""

    prices: Prices
    tiers: tuple[Tier, ...] = ()
    source: str
    book: str | None = None

    def at_length(self, input_tokens: int) -> Prices:
        """Return the prices of a request with so much input."""
        *_, prices = self.up_to(input_tokens)
        return prices

    def up_to(self, input_tokens: int) -> Iterator[Prices]:
        """Yield the prices of all requests with at most so much input, the longest last."""
        yield self.prices
        for tier in self.tiers:
            if tier.above_input_tokens < input_tokens:
                yield tier.prices


class Rates(msgspec.Struct, frozen=True, gc=False):
    """The dearest that a token, or the request itself, can come to; in nano-USD per million."""

    input: int
    output: int
    request: int


def nano_usd(usd: Decimal) -> int:
    """Convert an amount, rounded up."""
    return int((usd * NANO_PER_USD).to_integral_value(ROUND_CEILING))


def usd(nano_usd: int) -> Decimal:
    """Convert an amount, exactly."""
    return Decimal(nano_usd) / NANO_PER_USD


def dollars(nano_usd: int) -> str:
    """Write an amount for people: exact, with at least two places behind the point."""
    whole, part = divmod(nano_usd, NANO_PER_USD)
    return f"${whole:,}.{f'{part:09d}'.rstrip('0').ljust(2, '0')}"


def price_of_offer(offer: ModelOffer | None) -> Price | None:
    """Return the price that an administrator declared with a model; half a price is none."""
    if offer is None or offer.input_nano_usd_per_mtok is None or offer.output_nano_usd_per_mtok is None:
        return None
    prices = Prices(input=offer.input_nano_usd_per_mtok, output=offer.output_nano_usd_per_mtok)
    return Price(prices=prices, source=OFFER)


def cost_nano_usd(price: Price | None, usage: Usage) -> int | None:
    """Price a use of a model; None where the price is not known, which is not free."""
    prices = None if price is None else price.at_length(usage.input_tokens)
    if prices is None or prices.input is None or prices.output is None:
        return None
    consumed = _sum(
        prices.input,
        usage.input_tokens,
        (usage.image_input_tokens, prices.image_input),
        (usage.audio_input_tokens, prices.audio_input),
        (usage.cache_write_tokens, prices.cache_write),
        (usage.cached_input_tokens, prices.cached_input),
    )
    produced = _sum(
        prices.output,
        usage.output_tokens,
        (usage.image_output_tokens, prices.image_output),
        (usage.audio_output_tokens, prices.audio_output),
        (usage.reasoning_tokens, prices.reasoning),
    )
    return _rounded_up(consumed + produced + (prices.request or 0))


def cost_bound_nano_usd(
    price: Price | None, input_bound: int, output_bound: int, needs: Collection[str] = MEDIA
) -> int | None:
    """Bound the cost of any use within these counts, whichever parts it has and whichever tier it ends in."""
    bounds = []
    for prices in () if price is None else price.up_to(input_bound):
        rates = rates_of(prices, needs)
        if rates is None:
            return None
        bounds.append(input_bound * rates.input + output_bound * rates.output + rates.request)
    return _rounded_up(max(bounds)) if bounds else None


def rates_of(prices: Prices, needs: Collection[str]) -> Rates | None:
    """Return the dearest prices that a request with these needs can meet; None where they are not known."""
    if prices.input is None or prices.output is None:
        return None
    consumed = [prices.cached_input, prices.cache_write]
    if "audio" in needs:
        consumed.append(prices.audio_input)
    if "vision" in needs:
        consumed.append(prices.image_input)
    produced = (prices.reasoning, prices.audio_output, prices.image_output)
    return Rates(
        max(prices.input, *(part or 0 for part in consumed)),
        max(prices.output, *(part or 0 for part in produced)),
        prices.request or 0,
    )


def _sum(price: int, tokens: int, *parts: tuple[int, int | None]) -> int:
    """Charge each part by its own price, but never more tokens than there are in all."""
    total, rest = 0, tokens
    for counted, own_price in parts:
        part = min(counted, rest)
        rest -= part
        total += part * (price if own_price is None else own_price)
    return total + rest * price


def _rounded_up(total: int) -> int:
    return -(-total // TOKENS_PER_PRICE)
