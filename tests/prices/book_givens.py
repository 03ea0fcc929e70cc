"""Small books of prices for tests."""

from datetime import UTC, datetime

from apikeyrouter.domain.events import Prices
from apikeyrouter.domain.interfaces.provider_adapter import ProviderDescription, UpstreamAnswer, Usage
from apikeyrouter.domain.price_book import ModelPrice, Period, PriceBook, Section
from apikeyrouter.domain.pricing import Tier

USD = 1_000_000_000
PLACE = ("openai", "https://api.openai.com/v1")


def at_us(text: str) -> int:
    """Return an instant, in microseconds."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def prices(input_usd: int, output_usd: int, **parts: int) -> Prices:
    """Return prices in whole dollars per million tokens."""
    return Prices(
        input=input_usd * USD, output=output_usd * USD, **{part: usd * USD for part, usd in parts.items()}
    )


def period(told: Prices, *, since: str | None = None, daily_us=None, **tiers: Prices) -> Period:
    """Return prices that hold from an instant on; `above_100` are those of more than 100 tokens in."""
    return Period(
        from_us=None if since is None else at_us(since),
        daily_us=daily_us,
        prices=told,
        tiers=tuple(
            Tier(above_input_tokens=int(length.removeprefix("above_")), prices=dearer)
            for length, dearer in tiers.items()
        ),
    )


def entry(model: str, *periods: Period, **fields) -> ModelPrice:
    """Return an entry that goes by its own name."""
    return ModelPrice(model=model, names=(model,), periods=periods, **fields)


def book(*entries: ModelPrice, version: str = "1", provider: str = "openai", more=()) -> PriceBook:
    """Return a book with one provider, at OpenAI's address."""
    section = Section(provider=provider, address=r"https://api\.openai\.com", models=entries)
    return PriceBook("a-source", version, [section, *more])


FIRST = book(entry("m", period(prices(2, 10, cached_input=1, reasoning=20))))
SECOND = book(entry("m", period(prices(3, 10))), entry("n", period(prices(1, 1))), version="2")


class FarProvider:
    """Answers at once, and says what was used."""

    def __init__(self, models=()) -> None:
        self.usage: Usage | None = Usage(100, 10)
        self.models = tuple(models)

    def describe(self) -> ProviderDescription:
        return ProviderDescription(kind=PLACE[0], base_url=PLACE[1], models=self.models)

    async def execute(self, call) -> UpstreamAnswer:
        return UpstreamAnswer(body=b'{"choices":[{}]}', usage=self.usage, model=call.model)

    async def open_stream(self, call):
        raise AssertionError("nobody streams here")

    async def close(self) -> None:
        pass
