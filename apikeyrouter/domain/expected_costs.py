"""What a request will probably cost: expected tokens at their prices, beside the bound that is reserved."""

from apikeyrouter.domain.expectations import Expectation
from apikeyrouter.domain.pricing import TOKENS_PER_PRICE, Price


def expected_cost(price: Price | None, expected: Expectation, bound: float) -> int | None:
    """Price an expectation in nano-USD, never above the bound of the cost; None where no price is known."""
    if price is None:
        return None
    prices = price.at_length(expected.input_tokens) if price.tiers else price.prices
    if prices.input is None or prices.output is None:
        return None
    cost = prices.input * expected.input_tokens + prices.output * expected.output_tokens
    if expected.cached_tokens and prices.cached_input is not None:
        cost -= (prices.input - prices.cached_input) * expected.cached_tokens
    rounded_up = -(-(cost + (prices.request or 0)) // TOKENS_PER_PRICE)
    return min(rounded_up, int(bound)) if bound >= 0.0 else rounded_up
