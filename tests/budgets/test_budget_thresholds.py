"""Who is told that money runs low: each threshold once a window, and again when it is another matter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from money_node import START_US, MoneyNode

from apikeyrouter.domain import budget_acts
from apikeyrouter.domain.budget_terms import parse_terms
from apikeyrouter.domain.budgets import threshold_nano_usd
from apikeyrouter.domain.events import (
    BudgetAlerted,
    EventRef,
    ModelOffer,
    RequestCompleted,
    RequestFacts,
    budget_stream,
)
from apikeyrouter.domain.models.budget import BudgetScope
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.routing import decide

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
DOLLAR = 10**9
OFFER = ModelOffer(model="m", input_nano_usd_per_mtok=0, output_nano_usd_per_mtok=DOLLAR * 1_000_000)


class Spender:
    """A node with one model of which a token costs a dollar, and one budget."""

    def __init__(self, limit=10, period="daily", **fields):
        self.node = MoneyNode()
        self.node.provider("p", OFFER)
        self.node.key("k", "p")
        terms = parse_terms(limit, period, fields.pop("mode", "soft"), **fields)
        opened = budget_acts.open_budget(terms, at_us=START_US, actor="t", scope=BudgetScope.Global)
        self.node.record(budget_stream("b"), opened)
        self.requests = 0

    @property
    def budget(self):
        return self.node.state.budgets.by_id["b"]

    def dispatch(self, dollars) -> str:
        """Send a request out that may cost so much."""
        facts = RequestFacts(operation="chat", model="m", output_tokens_bound=dollars)
        question = RouteQuestion(
            facts=facts, policy=policy_of(None), attempt=1, tried=(), at_us=self.node.time_us, seed=1
        )
        self.node.upkeep.wake(self.node.time_us)
        self.requests += 1
        stream = f"request-{self.requests}"
        self.node.record_of_request(stream, decide(self.node.state, question))
        return stream

    def spend(self, dollars, stream=None) -> EventRef:
        """Settle a request at so much."""
        stream = stream or self.dispatch(dollars)
        event = RequestCompleted(
            at_us=self.node.time_us,
            attempt=1,
            key_id="k",
            provider_id="p",
            model="m",
            input_tokens=0,
            output_tokens=dollars,
            usage_source="provider",
            cost_nano_usd=dollars * DOLLAR,
            elapsed_us=1,
            first_byte_us=1,
            response_bytes=1,
            response_sha256="0",
        )
        return self.node.record_of_request(stream, event)

    def set_terms(self, limit=10, period="daily", **fields):
        terms = parse_terms(limit, period, fields.pop("mode", "soft"), **fields)
        event = budget_acts.set_terms(self.budget, terms, at_us=self.node.time_us, actor="t")
        self.node.record(budget_stream("b"), event)

    def top_up(self, dollars):
        ends_us = self.node.state.budgets.ends_us(self.budget)
        event = budget_acts.top_up(
            self.budget, dollars * DOLLAR, at_us=self.node.time_us, ends_us=ends_us, actor="t"
        )
        self.node.record(budget_stream("b"), event)

    def close(self):
        event = budget_acts.close_budget(self.budget, at_us=self.node.time_us, actor="t")
        self.node.record(budget_stream("b"), event)

    @property
    def alerts(self) -> list[BudgetAlerted]:
        return [each.event for each in self.node.log.recorded if isinstance(each.event, BudgetAlerted)]

    @property
    def told(self) -> list[int]:
        return [alert.percent for alert in self.alerts]


def test_an_alert_tells_what_it_stands_on():
    """The amounts, the end of the window, and the settlement that reached the threshold."""
    spender = Spender()
    spender.spend(7)
    assert not spender.told
    evidence = spender.spend(1)
    (alert,) = spender.alerts
    assert (alert.percent, alert.settled_nano_usd, alert.limit_nano_usd) == (80, 8 * DOLLAR, 10 * DOLLAR)
    assert alert.window_ends_us == START_US - START_US % DAY_US + DAY_US
    assert alert.evidence == (evidence,)


def test_each_threshold_is_told_once_a_window():
    """Also when several are passed at once: then the highest."""
    spender = Spender(alerts_percent=[50, 80, 100])
    for dollars in (4, 1, 1, 4, 1, 1):
        spender.spend(dollars)
        assert not spender.node.state.budgets.due
    assert spender.told == [50, 100]


def test_what_is_only_held_reaches_no_threshold():
    """Reservations come back; what is settled counts."""
    spender = Spender()
    stream = spender.dispatch(9)
    spender.spend(1)
    assert not spender.told
    spender.spend(9, stream)
    assert spender.told == [100]


@pytest.mark.parametrize(("period", "fields"), [("daily", {}), ("hourly", {"rolling": True})])
def test_a_new_window_tells_anew(period, fields):
    """Of a rolling one, when one length has gone since the first was told."""
    spender = Spender(period=period, **fields)
    spender.spend(8)
    spender.spend(1)
    spender.node.time_us += DAY_US
    spender.spend(7)
    assert spender.told == [80]
    spender.spend(1)
    spender.spend(2)
    assert spender.told == [80, 80, 100]


def test_a_rolling_window_is_told_anew_one_length_after_the_first():
    """However late in it the others were told."""
    spender = Spender(period="hourly", rolling=True)
    spender.spend(8)
    spender.node.time_us += HOUR_US // 2
    spender.spend(2)
    spender.spend(6)
    spender.node.time_us += HOUR_US // 2
    spender.spend(1)
    assert spender.told == [80, 100, 80]


def test_a_clock_set_back_does_not_tell_twice():
    """A rolling window has not begun anew because somebody turned the clock."""
    spender = Spender(period="hourly", rolling=True)
    spender.node.time_us += DAY_US
    spender.spend(1)
    spender.node.time_us -= DAY_US
    for _ in range(9):
        spender.spend(1)
    assert spender.told == [80, 100]


def test_a_top_up_arms_what_it_puts_out_of_reach():
    """What was told and is out of reach is told when it is reached again; what is reached still is not."""
    spender = Spender(alerts_percent=[40, 80, 100])
    spender.spend(10)
    spender.top_up(10)
    spender.spend(5)
    assert spender.told == [100]
    spender.spend(1)
    spender.spend(4)
    assert spender.told == [100, 80, 100]
    assert [alert.limit_nano_usd for alert in spender.alerts] == [10 * DOLLAR, 20 * DOLLAR, 20 * DOLLAR]


def test_other_terms_arm_all():
    """They are another matter: what is reached by them is told with the next that is recorded."""
    spender = Spender(limit=100)
    spender.spend(50)
    spender.set_terms(limit=60)
    assert not spender.told
    spender.dispatch(1)
    assert spender.told == [80]
    spender.set_terms(limit=50, mode="hard")
    spender.dispatch(1)
    assert spender.told == [80, 100]


def test_what_is_due_is_looked_at_again_before_it_is_told():
    """A top-up in time leaves nothing to tell, until it is reached once more."""
    spender = Spender(limit=100)
    spender.spend(50)
    spender.set_terms(limit=50)
    spender.top_up(50)
    spender.dispatch(1)
    assert not spender.told
    spender.spend(30)
    assert spender.told == [80]


def test_what_was_told_is_not_told_again_in_the_place_of_what_is_due():
    """Recovery reaches a threshold, and before anybody is told it is out of reach: a lower one was told."""
    spender = Spender(period="hourly", rolling=True, alerts_percent=[50, 80])
    spender.spend(3)
    spender.node.time_us += HOUR_US // 2
    spender.spend(3)
    spender.dispatch(2)
    assert spender.told == [50]
    spender.node.restart()
    assert spender.node.state.budgets.due
    spender.node.time_us += HOUR_US // 2
    stream = spender.dispatch(3)
    assert spender.told == [50]
    spender.spend(3, stream)
    assert spender.told == [50, 80]


@pytest.mark.parametrize(("period", "fields"), [("hourly", {"rolling": True}), ("total", {})])
def test_a_window_without_an_end_is_told_as_such(period, fields):
    """A rolling one moves on, a total is for ever."""
    spender = Spender(period=period, **fields)
    spender.spend(10)
    assert spender.alerts[0].window_ends_us is None


def test_a_closed_budget_tells_nothing_more():
    """Also if what was out when it was closed comes in a window later."""
    spender = Spender(period="hourly", rolling=True)
    spender.spend(8)
    spender.node.time_us += HOUR_US // 2
    stream, late = spender.dispatch(8), spender.dispatch(8)
    spender.close()
    spender.spend(8, stream)
    spender.node.time_us += HOUR_US // 2
    spender.spend(8, late)
    assert spender.told == [80]


def test_closing_withdraws_an_alert_that_is_due():
    """Nobody is told of a budget that is over."""
    spender = Spender(limit=100)
    spender.spend(50)
    spender.set_terms(limit=50)
    spender.close()
    spender.dispatch(1)
    assert not spender.told


@given(st.integers(0, 10**18), st.integers(1, 1000))
def test_a_threshold_is_exact(limit, percent):
    """Reached from the first nano-dollar on that makes so many percent, and not before."""
    amount = threshold_nano_usd(limit, percent)
    assert amount * 100 >= limit * percent
    assert (amount - 1) * 100 < limit * percent
