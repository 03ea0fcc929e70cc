"""When a request is served by a cheaper model: where money runs short, and somebody asked for it."""

import msgspec
import pytest
from money_node import START_US
from money_shop import POINT, Shop, offer

from apikeyrouter.domain.events import ModelOffer, ModelsEquated, RouteRefused
from apikeyrouter.domain.objectives import policy_of

ASKED = msgspec.structs.replace(policy_of(None), downgrade=True)


@pytest.fixture
def shop():
    """Nine points a token, or one for the small model that may stand in."""
    shop = Shop(p=(offer(points=9), offer("small"), offer("unnamed")), q=(ModelOffer(model="gift"),))
    told = ModelsEquated(at_us=START_US, actor="t", model="m", equivalents=(), cheaper=("small", "unlisted"))
    shop.node.record("catalogue", told)
    return shop


@pytest.mark.parametrize("mode", ["hard", "soft"])
@pytest.mark.parametrize("who", ["caller", "terms", "nobody"])
def test_a_cheaper_model_serves_where_it_is_asked_for(shop, mode, who):
    """By the caller or by the terms of a budget; else what was asked for is refused, or runs over."""
    shop.budget("b", 8, mode=mode, downgrade=who == "terms")
    decision = shop.ask(1, policy=ASKED if who == "caller" else None)
    if who == "nobody":
        assert isinstance(decision, RouteRefused) or decision.over_budget == ("b",)
        assert isinstance(decision, RouteRefused) == (mode == "hard")
        return
    assert (decision.model, decision.chosen.model, decision.over_budget) == ("small", "small", ())
    assert [one.amount for one in decision.reserved] == [POINT]
    assert decision.excluded["budget" if mode == "hard" else "over_budget"] == 1


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_while_there_is_money_the_model_that_was_asked_for_serves(shop, mode):
    """To the last point."""
    shop.budget("b", 9, mode=mode, downgrade=True)
    decision = shop.ask(1, policy=ASKED)
    assert (decision.model, decision.chosen.model) == ("m", None)
    assert decision.excluded == {"model_not_offered": 1}


def test_without_a_budget_nothing_is_cheaper_enough(shop):
    """A caller that allows for it still gets what it asked for."""
    assert shop.ask(1, policy=ASKED).model == "m"


def test_a_budget_of_one_provider_counts_as_well(shop):
    """Though not all members draw on it."""
    shop.budget("b", 8, scope="provider", scope_id="p", downgrade=True)
    assert shop.ask(1).model == "small"


def test_an_unknown_price_is_not_affordable(shop):
    """What has no price may cost anything, so the cheaper one is asked."""
    told = ModelsEquated(at_us=START_US, actor="t", model="gift", equivalents=(), cheaper=("small",))
    shop.node.record("catalogue", told)
    shop.budget("b", 8, mode="soft", downgrade=True)
    assert shop.ask(1, model="gift").model == "small"


def test_equivalents_serve_whether_money_is_short_or_not(shop):
    """Nobody needs to ask, and no budget needs to be there."""
    told = ModelsEquated(at_us=START_US, actor="t", model="m", equivalents=("small",), cheaper=())
    shop.node.record("catalogue", told)
    assert shop.ask(1, policy=policy_of("cost")).model == "small"
    taken_back = ModelsEquated(at_us=START_US, actor="t", model="m", equivalents=(), cheaper=())
    shop.node.record("catalogue", taken_back)
    assert shop.ask(1, policy=policy_of("cost")).model == "m"
