"""The book in the package genai-prices: its data become a book of ours; nothing is asked of the network.

The package is imported when a book is asked for and not before: that takes half a second.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from apikeyrouter.domain.events import Prices
from apikeyrouter.domain.price_book import ModelPrice, Pattern, Period, PriceBook, Section
from apikeyrouter.domain.pricing import Tier, nano_usd
from apikeyrouter.domain.windows import epoch_us

if TYPE_CHECKING:
    from genai_prices import types

SOURCE = "genai-prices"
NOISE = Decimal("1e-12")

_PER_MTOK = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "audio_input": "input_audio_mtok",
    "image_input": "input_image_mtok",
    "reasoning": "output_reasoning_mtok",
    "audio_output": "output_audio_mtok",
    "image_output": "output_image_mtok",
}
_PER_THOUSAND_REQUESTS = "requests_kcount"


@cache
def packaged_book() -> PriceBook:
    """Read the installed package's data."""
    from genai_prices.data import providers  # noqa: PLC0415 - heavy, and seldom needed

    return PriceBook(SOURCE, version(SOURCE), [_section(provider) for provider in providers])


def _section(provider: "types.Provider") -> Section:
    return Section(
        provider=provider.id,
        address=provider.api_pattern,
        also=tuple(provider.fallback_model_providers or ()),
        models=tuple(_model(model) for model in provider.models),
    )


def _model(model: "types.ModelInfo") -> ModelPrice:
    names: list[str] = []
    patterns: list[Pattern] = []
    for clause in _alternatives(model.match):
        pattern = _pattern(clause)
        if pattern is None:
            names.append(clause.equals.lower())
        else:
            patterns.append(pattern)
    return ModelPrice(
        model=model.id, names=tuple(names), patterns=tuple(patterns), periods=tuple(_periods(model))
    )


# --- names -------------------------------------------------------------------------------------------


def _alternatives(clause: Any) -> Iterator[Any]:
    for alternative in getattr(clause, "or_", ()):
        yield from _alternatives(alternative)
    if not hasattr(clause, "or_"):
        yield clause


def _pattern(clause: Any) -> Pattern | None:
    """Translate a clause of a name; None for one that gives the whole name."""
    match type(clause).__name__:
        case "ClauseEquals":
            return None
        case "ClauseStartsWith":
            return Pattern("starts", clause.starts_with.lower())
        case "ClauseEndsWith":
            return Pattern("ends", clause.ends_with.lower())
        case "ClauseContains":
            return Pattern("contains", clause.contains.lower())
    return Pattern("regex", "^" + _ahead(clause))


def _ahead(clause: Any) -> str:
    """Write a clause as a regex that looks ahead from the beginning of a name."""
    for name, write in _LOOKING_AHEAD.items():
        if hasattr(clause, name):
            return write(getattr(clause, name))
    raise TypeError(f"genai-prices has a clause that is not known here: {type(clause).__name__}")


def _escaped(text: str) -> str:
    return re.escape(text.lower())


_LOOKING_AHEAD: dict[str, Callable[[Any], str]] = {
    "equals": lambda text: rf"(?={_escaped(text)}\Z)",
    "starts_with": lambda text: f"(?={_escaped(text)})",
    "ends_with": lambda text: rf"(?=.*{_escaped(text)}\Z)",
    "contains": lambda text: f"(?=.*{_escaped(text)})",
    "regex": lambda regex: f"(?=.*(?:{regex}))",
    "and_": lambda clauses: "".join(map(_ahead, clauses)),
    "or_": lambda clauses: "(?:" + "|".join(map(_ahead, clauses)) + ")",
}


# --- prices ------------------------------------------------------------------------------------------


def _periods(model: "types.ModelInfo") -> Iterator[Period]:
    if not isinstance(model.prices, list):
        yield _period(model, None, model.prices)
        return
    for conditional in model.prices:
        yield _period(model, conditional.constraint, conditional.prices)


def _period(model: "types.ModelInfo", constraint: Any, prices: "types.ModelPrice") -> Period:
    start_date: date | None = getattr(constraint, "start_date", None)
    daily_us = None
    if constraint is not None and start_date is None:
        daily_us = (_time_us(constraint.start_time), _time_us(constraint.end_time))
    tiered = (getattr(_told(prices, key), "tiers", ()) for key in _keys(prices))
    lengths = sorted({tier.start for tiers in tiered for tier in tiers})
    free = model.id.endswith(":free") and not list(_keys(prices))
    return Period(
        from_us=None if start_date is None else _midnight_us(start_date),
        daily_us=daily_us,
        prices=Prices(input=0, output=0) if free else _prices(prices, 0),
        tiers=tuple(
            Tier(above_input_tokens=length, prices=_prices(prices, length + 1)) for length in lengths
        ),
    )


def _prices(told: "types.ModelPrice", input_tokens: int) -> Prices:
    """Read the prices of requests with so much input.

    What makes nothing, such as an embedding, has no price for it there; what has none at all is not free.
    """
    found = {name: _nano(told, key, input_tokens) for name, key in _PER_MTOK.items()}
    per_thousand = _nano(told, _PER_THOUSAND_REQUESTS, input_tokens)
    if found["output"] is None and found["input"] is not None:
        found["output"] = max(found["image_output"] or 0, found["audio_output"] or 0)
    return Prices(**found, request=None if per_thousand is None else per_thousand * 1000)


def _nano(told: "types.ModelPrice", key: str, input_tokens: int) -> int | None:
    price = _told(told, key)
    for tier in getattr(price, "tiers", ()):
        if input_tokens > tier.start:
            price = tier.price
    usd: Decimal | None = getattr(price, "base", price)
    # Some prices went through floats on their way: 0.09999999999999999 stands for 0.1.
    return None if usd is None else nano_usd(usd.quantize(NOISE))


def _told(prices: "types.ModelPrice", key: str) -> Any:
    return vars(prices).get(key)


def _keys(prices: "types.ModelPrice") -> Iterator[str]:
    return (key for key, price in vars(prices).items() if price is not None)


def _midnight_us(day: date) -> int:
    return epoch_us(datetime(day.year, day.month, day.day, tzinfo=UTC))


def _time_us(moment: time) -> int:
    """Return a time of day in UTC; one that names no zone is UTC."""
    zone = moment.tzinfo or UTC
    utc = datetime.combine(date(1970, 1, 2), moment, tzinfo=zone).astimezone(UTC)
    return ((utc.hour * 60 + utc.minute) * 60 + utc.second) * 1_000_000
