"""What a decision says of the cost that is expected, beside the bound that it reserves."""

import msgspec
from estimate_givens import OFFER, USD_A_MILLION, Shop
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.domain.events import CATALOGUE_STREAM, ModelOffer, Prices, PriceSet
from apikeyrouter.domain.expectations import Expectation
from apikeyrouter.domain.expected_costs import expected_cost
from apikeyrouter.domain.pricing import Price, Tier
from apikeyrouter.domain.routing import decide

AMOUNTS = st.integers(0, 10**13)
COUNTS = st.integers(0, 3_000_000)


def price(**changes) -> Price:
    prices = Prices(**{"input": 2_000_000, "output": 10_000_000, **changes})
    return Price(prices=prices, source="offer")


class TestTheDecision:
    def test_the_chosen_one_tells_what_is_expected(self):
        """Tokens of the prior at the prices of the model, below the bound; the others have none."""
        shop = Shop()
        shop.key("k2")
        decision = shop.decide()
        assert decision.chosen.expected_cost_nano_usd == 250 * 2_000 + 256 * 10_000
        assert decision.chosen.expected_cost_nano_usd < decision.chosen.cost_bound_nano_usd
        assert [other.expected_cost_nano_usd for other in decision.others] == [None]

    def test_without_a_price_nothing_is_expected(self):
        """What nobody prices is not free."""
        shop = Shop(ModelOffer(model="m"))
        assert shop.decide().chosen.expected_cost_nano_usd is None

    def test_it_learns_from_measured_answers_alone(self):
        """What is only a bound teaches nothing."""
        shop = Shop()
        before = shop.decide().chosen.expected_cost_nano_usd
        shop.serve(settled={"usage_source": "bounded", "output_tokens": 3_000})
        assert shop.decide().chosen.expected_cost_nano_usd == before
        shop.serve(settled={"output_tokens": 3_000, "input_tokens": 250})
        assert shop.decide().chosen.expected_cost_nano_usd == 250 * 2_000 + 805 * 10_000

    def test_a_price_that_is_set_counts_at_once(self):
        """The pool is laid out anew, and so are the prices that expectations are priced by."""
        shop = Shop()
        shop.decide()
        set_price = PriceSet(
            at_us=shop.now_us,
            actor="test",
            provider_id="openai",
            model="m",
            prices_nano_usd_per_million=Prices(input=0, output=USD_A_MILLION),
        )
        shop.append(CATALOGUE_STREAM, set_price)
        assert shop.decide().chosen.expected_cost_nano_usd == 256 * 1_000

    def test_it_is_made_again_from_the_log(self):
        """A fold of the same events expects the same, to the last nano-dollar."""
        shop = Shop()
        for output_tokens in (1, 3_000, 77):
            shop.serve(settled={"output_tokens": output_tokens}, client_id="c")
        question = shop.asked(client_id="c")
        again = decide(shop.refolded(), question)
        assert msgspec.json.encode(again) == msgspec.json.encode(decide(shop.state, question))


class TestThePrice:
    def test_cached_input_at_its_own_price(self):
        """Where there is such a price; else it costs as the rest."""
        expected = Expectation(100, 40, 10)
        assert expected_cost(price(cached_input=500_000), expected, 1e9) == 60 * 2 + 40 // 2 + 10 * 10
        assert expected_cost(price(), expected, 1e9) == 100 * 2 + 10 * 10

    def test_long_input_at_the_price_of_its_length(self):
        """The tier of the expected length counts, not that of the bound."""
        tiered = Price(
            prices=price().prices,
            tiers=(Tier(above_input_tokens=99, prices=Prices(input=4_000_000, output=10_000_000)),),
            source="offer",
        )
        assert expected_cost(tiered, Expectation(99, 0, 0), 1e9) == 198
        assert expected_cost(tiered, Expectation(100, 0, 0), 1e9) == 400

    def test_half_a_price_is_none(self):
        """A model whose output nobody prices has no expected cost."""
        half = Price(prices=Prices(input=1), source="book")
        assert expected_cost(half, Expectation(1, 0, 1), -1.0) is None
        assert expected_cost(None, Expectation(1, 0, 1), -1.0) is None

    @given(
        amounts=st.tuples(AMOUNTS, AMOUNTS, st.none() | AMOUNTS, st.none() | AMOUNTS),
        counts=st.tuples(COUNTS, st.integers(0, 100), COUNTS),
        bound=st.integers(0, 10**15),
    )
    def test_it_is_whole_and_within_the_bound(self, amounts, counts, bound):
        """Never below zero, never above what is reserved, rounded up."""
        of_input, of_output, cached, a_request = amounts
        made = price(input=of_input, output=of_output, cached_input=cached, request=a_request)
        tokens, percent, output_tokens = counts
        cost = expected_cost(made, Expectation(tokens, tokens * percent // 100, output_tokens), float(bound))
        assert isinstance(cost, int)
        assert 0 <= cost <= bound


def test_the_offer_has_a_price():
    """Else these tests would show nothing."""
    assert OFFER.input_nano_usd_per_mtok == 2 * USD_A_MILLION
