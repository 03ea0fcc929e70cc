"""What a request may cost, what that is held of, and why one is refused for money."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from money_node import START_US
from money_shop import POINT, Shop, offer

from apikeyrouter.application.call_bodies import body_of
from apikeyrouter.application.intake import Wish, order
from apikeyrouter.domain import budget_acts
from apikeyrouter.domain.budgets import MOST_OF_A_CALL
from apikeyrouter.domain.events import (
    AttemptFailed,
    ModelOffer,
    ModelsEquated,
    RouteDecided,
    RouteRefused,
    budget_stream,
)
from apikeyrouter.domain.explanation import explain
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.output_bounds import CAPPED_OUTPUT_TOKENS, USUAL_OUTPUT_TOKENS

HOUR_US = 3_600_000_000


class TestBounds:
    def test_the_caller_s_bound_is_held(self):
        """For all the answers that were asked for together."""
        shop = Shop()
        shop.budget("b", 100)
        decision = shop.ask(7, choices=2)
        assert [one.amount for one in decision.reserved] == [14 * POINT]
        assert decision.output_tokens_capped is None

    def test_the_model_s_limit_bounds_what_the_caller_does_not(self):
        """It needs no cap in the call."""
        shop = Shop(p=(offer(max_output_tokens=30),))
        shop.budget("b", 100)
        decision = shop.ask(0, choices=2)
        assert [one.amount for one in decision.reserved] == [60 * POINT]
        assert decision.output_tokens_capped is None

    def test_a_hard_budget_caps_what_nobody_bounds(self):
        """Each answer by itself, and the cap is what is held."""
        shop = Shop()
        shop.budget("b", 100_000)
        decision = shop.ask(0, choices=2)
        assert decision.output_tokens_capped == CAPPED_OUTPUT_TOKENS
        assert [one.amount for one in decision.reserved] == [2 * CAPPED_OUTPUT_TOKENS * POINT]

    def test_a_soft_budget_caps_nothing(self):
        """It holds what is usual, and settles what came."""
        shop = Shop()
        shop.budget("b", 100_000, mode="soft")
        decision = shop.ask(0)
        assert decision.output_tokens_capped is None
        assert [one.amount for one in decision.reserved] == [USUAL_OUTPUT_TOKENS * POINT]

    def test_embeddings_have_no_output(self):
        """Nothing is held for it, and nothing capped."""
        shop = Shop(p=(offer(input_nano_usd_per_mtok=POINT * 1_000_000),))
        shop.budget("b", 100)
        decision = shop.ask(0, operation="embeddings", input_tokens_bound=3)
        assert [one.amount for one in decision.reserved] == [3 * POINT]
        assert decision.output_tokens_capped is None

    def test_only_the_member_that_a_hard_budget_pays_for_is_capped(self):
        """Another provider's answers stay as long as they get."""
        shop = Shop(a=(offer(),), b=(offer(),))
        shop.budget("of-a", 100_000, scope="provider", scope_id="a")
        assert shop.ask(0, provider_id="b").output_tokens_capped is None
        assert shop.ask(0, provider_id="a").output_tokens_capped == CAPPED_OUTPUT_TOKENS

    def test_the_cap_is_held_where_only_some_budgets_pay(self):
        """Each provider with one of its own: whoever serves, the whole cap is held of it."""
        shop = Shop(a=(offer(),), b=(offer(),))
        for name in "ab":
            shop.budget(f"of-{name}", 100_000, scope="provider", scope_id=name)
        decision = shop.ask(0)
        assert decision.output_tokens_capped == CAPPED_OUTPUT_TOKENS
        (held,) = decision.reserved
        assert held.account == f"budget-of-{decision.chosen.provider_id}"
        assert held.amount == CAPPED_OUTPUT_TOKENS * POINT


class TestCallBodies:
    def body(self, decision, **fields):
        wanted = {"model": "m", "messages": [{"role": "user", "content": "\u00e9"}], **fields}
        wish = Wish(operation="chat", model="m")
        return msgspec.json.decode(
            body_of(order(wish, policy_of(None), msgspec.json.encode(wanted)), decision)
        )

    @pytest.mark.parametrize("said", [None, 0, "many", 1e9])
    def test_a_cap_is_the_only_bound_in_the_call(self, said):
        """What the caller wrote in its place bounds nothing, and might be believed."""
        shop = Shop()
        shop.budget("b", 100_000)
        body = self.body(shop.ask(0), max_tokens=said, max_completion_tokens=said, seed=7)
        assert body == {
            "model": "m",
            "messages": [{"role": "user", "content": "\u00e9"}],
            "max_completion_tokens": CAPPED_OUTPUT_TOKENS,
            "seed": 7,
        }

    def test_a_body_that_needs_no_change_is_sent_as_it_came(self):
        """To the byte."""
        shop = Shop()
        shop.budget("b", 100_000)
        wanted = order(Wish(operation="chat", model="m"), policy_of(None), b'{ "model" : "m" }')
        assert body_of(wanted, shop.ask(5)) is wanted.body

    def test_another_model_is_named_in_the_call(self):
        """And nothing else is changed."""
        shop = Shop(p=(offer(points=9), offer("small")))
        told = ModelsEquated(at_us=START_US, actor="t", model="m", equivalents=(), cheaper=("small",))
        shop.node.record("catalogue", told)
        shop.budget("b", 5, downgrade=True)
        body = self.body(shop.ask(1), max_tokens=1)
        assert (body["model"], body["max_tokens"]) == ("small", 1)


class TestPriceUnknown:
    UNPRICED = ModelOffer(model="m")

    @pytest.mark.parametrize(("scope", "scope_id"), [("global", None), ("provider", "p"), ("model", "m")])
    def test_a_hard_budget_pays_for_no_unknown_price(self, scope, scope_id):
        """However much is left."""
        shop = Shop(p=(self.UNPRICED,))
        shop.budget("b", 10**6, scope=scope, scope_id=scope_id)
        refused = shop.ask()
        assert isinstance(refused, RouteRefused)
        assert (refused.reason, refused.excluded) == ("price_unknown", {"price_unknown": 1})
        assert refused.shortfall is None

    def test_a_soft_budget_lets_it_pass_and_holds_nothing(self):
        """What has no price is not free, but nobody asked to be stopped."""
        shop = Shop(p=(self.UNPRICED,))
        shop.budget("b", 1, mode="soft")
        assert [one.amount for one in shop.ask().reserved] == [0]

    def test_a_member_s_own_hard_budget_asks_for_its_price_alone(self):
        """Others serve, and where there are none the reason is the price."""
        shop = Shop(a=(self.UNPRICED,), b=(offer(),), c=(offer(),))
        shop.budget("of-a", 10**6, scope="provider", scope_id="a")
        decision = shop.ask(9)
        assert decision.chosen.provider_id != "a"
        assert decision.excluded == {"price_unknown": 1}
        assert shop.ask(9, provider_id="a").reason == "price_unknown"

    def test_another_scope_s_budget_does_not_mind(self):
        """Only those who pay ask for a price."""
        shop = Shop(a=(self.UNPRICED,), b=(offer(),))
        shop.budget("of-b", 1, scope="provider", scope_id="b")
        assert shop.ask(9).chosen.key_id == "key-of-a"

    def test_half_priced_members_leave_the_others(self):
        """The one with a price serves."""
        shop = Shop(a=(self.UNPRICED,), b=(offer(),))
        shop.budget("b", 9)
        decision = shop.ask(9)
        assert (decision.chosen.key_id, decision.excluded) == ("key-of-b", {"price_unknown": 1})
        refused = shop.ask(1)
        assert refused.reason == "budget_exceeded"


class TestShortfall:
    def test_a_soft_budget_is_over_from_the_first_nano_dollar(self):
        """What fits to the last one is not told."""
        shop = Shop()
        shop.budget("b", 5, mode="soft")
        assert shop.ask(5).over_budget == ()
        assert shop.ask(1).over_budget == ("b",)

    def test_it_fits_to_the_nano_dollar(self):
        """The last one is let in, one nano-dollar less is not enough."""
        for limit, fits in (("5", True), ("4.99999", False)):
            shop = Shop()
            shop.budget("b", limit)
            assert isinstance(shop.ask(5), RouteDecided if fits else RouteRefused)

    def test_the_budget_that_lets_in_last_is_named(self):
        """Though less is left of another, which begins anew before it."""
        shop = Shop()
        shop.budget("day", 10)
        shop.budget("hour", 9, "hourly")
        shop.ask(7)
        told = shop.ask(7).shortfall
        assert (told.budget_id, told.needed_nano_usd) == ("day", 7 * POINT)
        assert told.fits_at_us == START_US - START_US % (24 * HOUR_US) + 24 * HOUR_US

    def test_the_member_that_fits_first_counts(self):
        """A cheaper one that never fits is no reason to say never."""
        shop = Shop(a=(offer(),), b=(offer(points=2),))
        shop.budget("of-a", 1, "total", scope="provider", scope_id="a")
        shop.budget("of-b", 8, "hourly", scope="provider", scope_id="b", rolling=True)
        shop.ask(4, provider_id="b")
        told = shop.ask(2).shortfall
        assert (told.budget_id, told.scope, told.scope_id) == ("of-b", "provider", "b")
        assert (told.needed_nano_usd, told.remaining_nano_usd) == (4 * POINT, 0)
        assert told.fits_at_us == START_US + HOUR_US

    @pytest.mark.parametrize(("period", "limit"), [("total", 10), ("daily", 5)])
    def test_what_time_alone_never_gives_is_said_so(self, period, limit):
        """A total that is held, or a limit below the need; in a sentence that can be read."""
        shop = Shop()
        shop.budget("b", limit, period)
        shop.ask(5)
        refused = shop.ask(6)
        assert refused.shortfall.fits_at_us is None
        assert "Time alone gives nothing back." in explain(refused)

    def test_top_ups_end_on_the_way(self):
        """At midnight the day's limit is what it was, so what needs the top-up fits never."""
        shop = Shop()
        shop.budget("b", 5)
        budget = shop.node.state.budgets.by_id["b"]
        ends_us = shop.node.state.budgets.ends_us(budget)
        more = budget_acts.top_up(budget, 5 * POINT, at_us=START_US, ends_us=ends_us, actor="t")
        shop.node.record(budget_stream("b"), more)
        shop.ask(5)
        assert shop.ask(6).shortfall.fits_at_us is None
        assert isinstance(shop.ask(5), RouteDecided)
        assert shop.ask(5).shortfall.fits_at_us == ends_us

    def test_all_or_nothing(self):
        """What one budget refuses is held in no other."""
        shop = Shop()
        shop.budget("wide", 100)
        shop.budget("tight", 3, scope="team", scope_id="x")
        assert shop.ask(5, team="x").shortfall.budget_id == "tight"
        assert not shop.node.state.budgets.accounts.used.any()
        assert {one.account for one in shop.ask(3, team="x").reserved} == {"budget-wide", "budget-tight"}


class TestAbsurdRequests:
    @given(tokens=st.lists(st.integers(1, 2**62), min_size=1, max_size=12), charged=st.booleans())
    def test_no_request_breaks_the_books(self, tokens, charged):
        """However much a caller asks for: soft budgets count a million dollars a call, and free it again."""
        shop = Shop()
        shop.budget("b", 1, "total", mode="soft")
        decisions = [shop.ask(count) for count in tokens]
        amounts = [min(each.chosen.cost_bound_nano_usd, MOST_OF_A_CALL) for each in decisions]
        accounts = shop.node.state.budgets.accounts
        assert accounts.used.item(0) == sum(amounts)
        for number, decision in enumerate(decisions, 1):
            failed = AttemptFailed(
                at_us=START_US,
                attempt=1,
                key_id="key-of-p",
                provider_id="p",
                failure="total_timeout",
                effect="nothing",
                elapsed_us=1,
                charged_nano_usd=decision.chosen.cost_bound_nano_usd if charged else 0,
            )
            shop.node.record_of_request(f"request-{number}", failed)
        assert accounts.used.item(0) == (sum(amounts) if charged else 0)
        assert not accounts.reserved.any()
