"""What a request costs at most on each member of a pool, by prices laid out in columns."""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apikeyrouter.domain.columns import Floats
from apikeyrouter.domain.pricing import TOKENS_PER_PRICE, Price, Rates, rates_of

UNPRICED = -1.0
MOST_EXACT = 2.0**52
"""Up to here sums of products of tokens and prices are exact as floats."""

Place = tuple[str, str]
"""A provider and a model of it: what a price belongs to."""


class CostStep(NamedTuple):
    """The dearest prices of a pool's members for requests with more than so much input; below 0 unknown."""

    above_input_tokens: int
    input_price: Floats
    output_price: Floats
    request_price: Floats | None
    unpriced: NDArray[np.bool_] | None
    any_priced: bool
    dearest: Rates


def cost_bounds(steps: tuple[CostStep, ...], input_tokens: int, output_tokens: int | Floats) -> Floats:
    """Bound the cost of a request on each member in nano-USD; below zero where no price is known."""
    step = steps[0] if len(steps) == 1 else steps[bisect_left(steps, (input_tokens,)) - 1]
    if not step.any_priced:
        return step.input_price
    dearest = step.dearest
    most_output = output_tokens if isinstance(output_tokens, int) else int(output_tokens.max())
    if dearest.input * input_tokens + dearest.output * most_output + dearest.request >= MOST_EXACT:
        bound = _exactly(step, input_tokens, output_tokens)
    else:
        bound = step.input_price * input_tokens + step.output_price * output_tokens
        if step.request_price is not None:
            bound += step.request_price
        bound = np.ceil(bound / TOKENS_PER_PRICE)
    if step.unpriced is not None:
        bound[step.unpriced] = UNPRICED
    return bound


def _exactly(step: CostStep, input_tokens: int, output_tokens: int | Floats) -> Floats:
    """Bound costs that floats would round: a nano-dollar too much refuses a request that fits."""
    count = len(step.input_price)
    requests = np.zeros(count) if step.request_price is None else step.request_price
    columns = (step.input_price, step.output_price, np.broadcast_to(output_tokens, count), requests)
    prices = zip(*(column.astype(np.int64).tolist() for column in columns), strict=True)
    return _floats(
        [-(-(a * input_tokens + b * output + c) // TOKENS_PER_PRICE) for a, b, output, c in prices]
    )


def cost_steps(
    places: Sequence[Place], prices: Mapping[Place, Price | None], needs: Collection[str]
) -> tuple[CostStep, ...]:
    """Lay out the prices of members in columns, anew for each length of input from which any are others."""
    lengths = {tier.above_input_tokens for price in prices.values() if price for tier in price.tiers}
    return tuple(_cost_step(places, prices, needs, length) for length in (-1, *sorted(lengths)))


def _cost_step(
    places: Sequence[Place], prices: Mapping[Place, Price | None], needs: Collection[str], length: int
) -> CostStep:
    rates = {place: _dearest(price, needs, length) for place, price in prices.items()}
    known = [rate for rate in rates.values() if rate is not None]
    by_member = [rates[place] for place in places]
    unpriced = np.array([rate is None for rate in by_member], dtype=np.bool_)
    requests = [0 if rate is None else rate.request for rate in by_member]
    return CostStep(
        above_input_tokens=length,
        input_price=_floats([UNPRICED if rate is None else rate.input for rate in by_member]),
        output_price=_floats([UNPRICED if rate is None else rate.output for rate in by_member]),
        request_price=_floats(requests) if any(requests) else None,
        unpriced=unpriced if unpriced.any() else None,
        any_priced=not unpriced.all(),
        dearest=_dearest_of(known),
    )


def _dearest(price: Price | None, needs: Collection[str], length: int) -> Rates | None:
    """Return the dearest rates of requests up to the next length; a bound must hold for shorter ones too."""
    if price is None:
        return None
    known = [rates_of(prices, needs) for prices in price.up_to(length + 1)]
    return None if None in known else _dearest_of([rates for rates in known if rates is not None])


def _dearest_of(known: list[Rates]) -> Rates:
    return Rates(
        max((rates.input for rates in known), default=0),
        max((rates.output for rates in known), default=0),
        max((rates.request for rates in known), default=0),
    )


def _floats(values: Sequence[float]) -> Floats:
    return np.array(values, dtype=np.float64)
