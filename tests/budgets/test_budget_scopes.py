"""Whose requests a budget pays for: by client, team, tag, route, provider, key and model."""

import msgspec
import pytest
from money_node import START_US
from money_shop import Shop, offer

from apikeyrouter.domain import budget_acts
from apikeyrouter.domain.budgets import MOST_REMEMBERED
from apikeyrouter.domain.events import RequestFacts

FROM = {"client_id": "c", "team": "x", "tags": ("t1", "t2")}


@pytest.mark.parametrize(
    ("scope", "own", "other"),
    [
        ("client", "c", "d"),
        ("team", "x", "y"),
        ("tag", "t2", "t3"),
        ("route", "chat", "embeddings"),
        ("provider", "p", "q"),
        ("key", "key-of-p", "key-of-q"),
        ("model", "m", "n"),
    ],
)
def test_a_budget_pays_for_its_own_and_nobody_else(scope, own, other):
    """Each scope by its name, and by nothing else that is called so."""
    shop = Shop()
    for scope_id in (own, other):
        shop.budget(scope_id, 5, scope=scope, scope_id=scope_id)
    assert [one.account for one in shop.ask(5, **FROM).reserved] == [f"budget-{own}"]
    assert shop.ask(1, **FROM).shortfall.budget_id == own


def test_closing_one_leaves_the_others():
    """Two budgets of one scope are two, each with its own money."""
    shop = Shop()
    shop.budget("one", 5, scope="client", scope_id="c")
    shop.budget("two", 9, scope="client", scope_id="c")
    assert len(shop.ask(1, **FROM).reserved) == 2
    closed = shop.node.state.budgets.by_id["one"]
    shop.node.record("budget-one", budget_acts.close_budget(closed, at_us=START_US, actor="t"))
    assert [one.account for one in shop.ask(8, **FROM).reserved] == ["budget-two"]


def test_what_is_changed_holds_for_the_next_request():
    """Whatever was remembered of requests like it: a new budget, and a soft one that became hard."""
    shop = Shop()
    shop.budget("other", 1, scope="client", scope_id="d")
    assert not shop.ask(9, **FROM).reserved
    for scope, scope_id in (("client", "c"), ("provider", "p")):
        shop.budget(scope, 5, mode="soft", scope=scope, scope_id=scope_id)
        assert shop.ask(9, **FROM).over_budget[-1] == scope
    for budget_id in ("client", "provider"):
        soft = shop.node.state.budgets.by_id[budget_id]
        hard = msgspec.structs.replace(soft.terms, enforcement="hard")
        event = budget_acts.set_terms(soft, hard, at_us=START_US, actor="t")
        shop.node.record(f"budget-{budget_id}", event)
        assert shop.ask(1, **FROM).shortfall.budget_id == budget_id
        shop.node.record(f"budget-{budget_id}", budget_acts.close_budget(soft, at_us=START_US, actor="t"))
    assert not shop.ask(9, **FROM).reserved


def test_names_that_clients_choose_fill_no_memory():
    """What is remembered of them is bounded, and a budget is found whatever was forgotten."""
    shop = Shop()
    shop.budget("b", 10**6, scope="tag", scope_id="t")
    budgets = shop.node.state.budgets
    for number in range(MOST_REMEMBERED + 5):
        facts = RequestFacts(operation="chat", model="m", client_id=str(number), tags=("t",))
        assert budgets.rows_for(facts) == (0,)
    assert len(budgets._of_requests) <= MOST_REMEMBERED


def test_a_budget_of_some_that_becomes_hard_keeps_them_out():
    """Others serve from then on, and all again when it is soft once more."""
    shop = Shop(p=(offer(),), q=(offer(),))
    shop.budget("of-p", 0, mode="soft", scope="provider", scope_id="p")
    for mode, refused in (("soft", None), ("hard", 1), ("soft", None)):
        known = shop.node.state.budgets.by_id["of-p"]
        terms = msgspec.structs.replace(known.terms, enforcement=mode)
        event = budget_acts.set_terms(known, terms, at_us=START_US, actor="t")
        if event is not None:
            shop.node.record("budget-of-p", event)
        assert shop.ask(1).excluded.get("budget") == refused
