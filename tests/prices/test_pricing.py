"""The arithmetic of money: exact, never below the truth, and bounded before it is spent."""

from decimal import Decimal
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apikeyrouter.domain.events import (
    EventRef,
    KeyRegistered,
    ModelOffer,
    Prices,
    PriceSet,
    ProviderRegistered,
    RequestFacts,
)
from apikeyrouter.domain.interfaces.provider_adapter import Usage
from apikeyrouter.domain.offered import OfferedModel
from apikeyrouter.domain.pool_costs import cost_bounds
from apikeyrouter.domain.pools import build_pool
from apikeyrouter.domain.pricing import (
    Price,
    Tier,
    cost_bound_nano_usd,
    cost_nano_usd,
    nano_usd,
    price_of_offer,
)
from apikeyrouter.domain.state import RouterState

AMOUNTS = st.integers(0, 10**15)
"""Up to a million dollars for a million tokens."""

TOKENS = st.integers(0, 10**7)
PARTS = ("cached_input", "cache_write", "audio_input", "image_input")
MADE_PARTS = ("reasoning", "audio_output", "image_output")

price_lists = st.builds(
    Prices,
    input=AMOUNTS,
    output=AMOUNTS,
    request=st.none() | AMOUNTS,
    **{part: st.none() | AMOUNTS for part in PARTS + MADE_PARTS},
)
tiers = st.lists(
    st.builds(Tier, above_input_tokens=st.integers(0, 10**7), prices=price_lists),
    max_size=3,
    unique_by=lambda tier: tier.above_input_tokens,
).map(lambda found: tuple(sorted(found, key=lambda tier: tier.above_input_tokens)))
priced = st.builds(Price, prices=price_lists, tiers=tiers, source=st.just("book"))


@st.composite
def usages(draw, whole=TOKENS):
    """Draw a use whose parts lie within its whole counts."""
    consumed, produced = draw(whole), draw(whole)
    counts = {}
    for rest, parts in ((consumed, PARTS), (produced, MADE_PARTS)):
        left = rest
        for part in parts:
            counts[f"{part}_tokens"] = count = draw(st.integers(0, left))
            left -= count
    return Usage(consumed, produced, **counts)


def exact_nano_usd(price: Price, usage: Usage) -> Fraction:
    """Charge every token on its own, as a tariff reads: another way than the one that is tested."""
    lists = [price.prices, *(t.prices for t in price.tiers if t.above_input_tokens < usage.input_tokens)]
    prices = lists[-1]
    total = Fraction(prices.request or 0)
    for whole, tokens, parts in (
        (prices.input, usage.input_tokens, PARTS),
        (prices.output, usage.output_tokens, MADE_PARTS),
    ):
        for part in parts:
            count, own = getattr(usage, f"{part}_tokens"), getattr(prices, part)
            total += Fraction(count * (whole if own is None else own))
            tokens -= count  # noqa: PLW2901 - what is left of the whole
        total += tokens * whole
    return total / 1_000_000


class TestWhatAUseCosts:
    @given(priced, usages())
    def test_it_is_exact_and_rounded_up_once(self, price, usage):
        """The cost is the exact amount, rounded up to a nano-dollar: never below, never a whole one above."""
        exact = exact_nano_usd(price, usage)
        cost = cost_nano_usd(price, usage)
        assert type(cost) is int
        assert exact <= cost < exact + 1

    @given(priced, usages(), st.data())
    def test_a_bound_holds_for_any_use_within_it(self, price, usage, data):
        """Whatever is used within the bounds, in whichever tier it ends, costs no more than the bound."""
        more = st.integers(0, 10**6)
        bound = cost_bound_nano_usd(
            price, usage.input_tokens + data.draw(more), usage.output_tokens + data.draw(more)
        )
        assert cost_nano_usd(price, usage) <= bound

    @given(priced, usages())
    def test_a_bound_without_media_holds_for_a_use_without_them(self, price, usage):
        """A request that shows and sounds nothing is not bounded by the prices of pictures and sound."""
        usage = msgspec.structs.replace(usage, audio_input_tokens=0, image_input_tokens=0)
        bound = cost_bound_nano_usd(price, usage.input_tokens, usage.output_tokens, needs=("tools",))
        assert cost_nano_usd(price, usage) <= bound

    @given(priced, TOKENS, TOKENS, st.integers(0, 10**8), st.integers(0, 10**8))
    def test_parts_that_overlap_never_lead_past_the_bound(self, price, consumed, produced, part, other):
        """A provider that counts a token twice is not paid for more tokens than it counted in all."""
        usage = Usage(
            consumed,
            produced,
            cached_input_tokens=part,
            audio_input_tokens=other,
            reasoning_tokens=part,
            audio_output_tokens=other,
        )
        assert cost_nano_usd(price, usage) <= cost_bound_nano_usd(price, consumed, produced)

    def test_what_has_no_price_is_not_free(self):
        """No price, half a price, or a tier without one: the cost is unknown."""
        usage = Usage(10, 10)
        half = Prices(input=5)
        tier = Tier(above_input_tokens=5, prices=half)
        whole = Prices(input=5, output=5)
        for price in (
            None,
            Price(prices=half, source="book"),
            Price(prices=whole, tiers=(tier,), source="book"),
        ):
            assert cost_nano_usd(price, usage) is None
            assert cost_bound_nano_usd(price, 10, 10) is None
        assert price_of_offer(None) is None
        assert price_of_offer(ModelOffer(model="m", input_nano_usd_per_mtok=5)) is None

    def test_a_tier_is_for_the_whole_request(self):
        """One token above the length, and every token costs what the tier says."""
        dearer = Tier(above_input_tokens=100, prices=Prices(input=2_000_000, output=0))
        price = Price(prices=Prices(input=1_000_000, output=0), tiers=(dearer,), source="book")
        assert cost_nano_usd(price, Usage(100, 0)) == 100
        assert cost_nano_usd(price, Usage(101, 0)) == 202

    def test_a_part_without_a_price_costs_what_the_whole_does(self):
        """Cached input that has no price of its own is input."""
        price = Price(prices=Prices(input=3_000_000, output=7_000_000), source="book")
        assert cost_nano_usd(price, Usage(10, 10, cached_input_tokens=10, reasoning_tokens=10)) == 100

    @pytest.mark.parametrize(
        ("usd", "nano"), [("0.15", 150_000_000), ("0", 0), ("1e-10", 1), ("0.0000000011", 2)]
    )
    def test_dollars_are_rounded_up(self, usd, nano):
        """An amount below a nano-dollar is one: what has a price is never free."""
        assert nano_usd(Decimal(usd)) == nano


class TestTheBoundsOfAPool:
    """What the decision reads of prices, in columns, must bound what the settlement charges."""

    @settings(max_examples=60)
    @given(st.lists(st.none() | priced, min_size=1, max_size=4), usages(), st.booleans())
    def test_they_hold_for_every_member(self, prices, usage, media):
        """Each bound is at least the cost of any use within it, and unknown exactly where the price is."""
        if not media:
            usage = msgspec.structs.replace(usage, audio_input_tokens=0, image_input_tokens=0)
        if not usage.output_tokens:
            usage = msgspec.structs.replace(
                usage, output_tokens=1, reasoning_tokens=0, audio_output_tokens=0, image_output_tokens=0
            )
        state = RouterState()
        for number, price in enumerate(prices):
            _member(state, f"p{number}", price)
        needs = ("vision", "audio") if media else ()
        pool = build_pool(state, RequestFacts(operation="chat", model="m", needs=needs))
        bounds = cost_bounds(pool.cost_steps, usage.input_tokens, usage.output_tokens)
        for price, bound in zip(prices, bounds.tolist(), strict=True):
            if price is None:
                assert bound < 0
            else:
                assert cost_nano_usd(price, usage) <= int(bound)

    def test_the_columns_are_built_once(self):
        """As long as nothing changes, the prices stand in the pool and nobody is asked again."""
        state = RouterState()
        _member(state, "p0", Price(prices=Prices(input=1, output=2), source="book"))
        pool = build_pool(state, RequestFacts(operation="chat", model="m"))
        (step,) = pool.cost_steps
        assert step.unpriced is None
        assert step.request_price is None
        assert np.array_equal(step.input_price, [1.0])


def _member(state: RouterState, provider_id: str, price: Price | None) -> None:
    """Put a provider with one key into the state, whose model has this price."""
    version = state.next_version("catalogue")
    registered = ProviderRegistered(at_us=1, actor="t", provider_id=provider_id, kind="scripted")
    state.evolve(state.position + 1, "catalogue", version, registered)
    key = KeyRegistered(at_us=1, actor="t", provider_id=provider_id, fingerprint=provider_id)
    state.evolve(state.position + 1, f"key-{provider_id}", 1, key)
    if price is not None and not price.tiers:
        told = PriceSet(
            at_us=1,
            actor="t",
            provider_id=provider_id,
            model="m",
            prices_nano_usd_per_million=price.prices,
        )
        state.evolve(state.position + 1, "catalogue", version + 1, told)
    elif price is not None:
        offers = state.providers[provider_id].models
        offers._found["m"] = OfferedModel(declared=None, own_price=price)
    assert EventRef("catalogue", version) == state.providers[provider_id].ref
