"""What administrators may write of budgets, and what they are told of the rest."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from money_node import START_US, MoneyNode

from apikeyrouter.domain import budget_acts
from apikeyrouter.domain.budget_terms import LONGEST_CUSTOM_S, MOST_USD, parse_terms, parse_usd
from apikeyrouter.domain.events import BudgetTerms, budget_stream
from apikeyrouter.domain.models.budget import BudgetScope, EnforcementMode, TimeWindow
from apikeyrouter.domain.models.system_error import ConflictError, InvalidRequestError
from apikeyrouter.interfaces.budget_views import budget_view

NANO = 10**9


def refused(**changes) -> str | None:
    """Return the field that a refusal names."""
    fields = {"limit": "5", "period": "daily", "enforcement_mode": "hard"} | changes
    limit, period, mode = (fields.pop(name) for name in ("limit", "period", "enforcement_mode"))
    with pytest.raises(InvalidRequestError) as error:
        parse_terms(limit, period, mode, **fields)
    assert error.value.message
    return error.value.param


class TestTerms:
    def test_what_is_written_is_kept(self):
        """Amounts to the nano-dollar, words as enums or texts, alerts in order and once."""
        terms = parse_terms(
            Decimal("0.000000001"),
            TimeWindow.Weekly,
            EnforcementMode.Soft,
            timezone="Europe/Berlin",
            alerts_percent=[100, 50, 100],
            downgrade=True,
        )
        assert terms == BudgetTerms(
            limit_nano_usd=1,
            unit="week",
            zone="Europe/Berlin",
            enforcement="soft",
            alerts_percent=(50, 100),
            downgrade=True,
        )
        assert parse_terms(5, "custom", "hard", seconds=90, rolling=True).kind == "rolling"

    def test_alerts_are_given_at_80_and_100_unless_told_otherwise(self):
        """Nobody needs to ask for them, and an empty list ends them."""
        assert parse_terms("5", "daily", "hard").alerts_percent == (80, 100)
        assert parse_terms("5", "daily", "hard", alerts_percent=()).alerts_percent == ()

    @pytest.mark.parametrize("limit", [0, "0", str(MOST_USD), Decimal("12.345678901"), "1e3"])
    def test_amounts_are_exact(self, limit):
        """Decimal, whole number or text."""
        assert parse_usd(limit, "limit") == Decimal(limit) * NANO

    @pytest.mark.parametrize(
        "limit",
        [
            *(-1, "-0.1", MOST_USD + 1, 0.1, True, None, "", "five", "nan", "inf", [1]),
            *("0.0000000001", f"1.{'0' * 40}1", "1e-999999999"),
        ],
    )
    def test_other_amounts_are_refused(self, limit):
        """A float is not what it seems; beyond nine places or a billion nothing is counted."""
        assert refused(limit=limit) == "limit"

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"period": "yearly"}, "period"),
            ({"period": None}, "period"),
            ({"enforcement_mode": "strict"}, "enforcement_mode"),
            ({"period": "custom"}, "seconds"),
            ({"seconds": 60}, "seconds"),
            ({"period": "custom", "seconds": 0}, "seconds"),
            ({"period": "custom", "seconds": True}, "seconds"),
            ({"period": "custom", "seconds": 1.5}, "seconds"),
            ({"period": "custom", "seconds": "60"}, "seconds"),
            ({"period": "custom", "seconds": LONGEST_CUSTOM_S + 1}, "seconds"),
            ({"rolling": True, "timezone": "Europe/Berlin"}, "rolling"),
            ({"rolling": True, "period": "total"}, "rolling"),
            ({"timezone": "Europe/Nowhere"}, "timezone"),
            ({"timezone": None}, "timezone"),
            ({"timezone": "../etc/passwd"}, "timezone"),
            ({"alerts_percent": [0]}, "alerts_percent"),
            ({"alerts_percent": [1001]}, "alerts_percent"),
            ({"alerts_percent": [True]}, "alerts_percent"),
            ({"alerts_percent": [80, "100"]}, "alerts_percent"),
            ({"alerts_percent": [[80]]}, "alerts_percent"),
            ({"alerts_percent": "80"}, "alerts_percent"),
            ({"alerts_percent": 80}, "alerts_percent"),
        ],
    )
    def test_a_refusal_names_the_field(self, changes, field):
        """Whatever is written wrongly, no other error comes out, and nothing is guessed."""
        assert refused(**changes) == field

    @given(*(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),) * 6)
    def test_any_garbage_gives_terms_or_a_clear_error(self, limit, period, mode, seconds, zone, alerts):
        """No value of any type ends in another exception."""
        params = ["limit"]
        try:
            parse_terms(limit, period, mode, seconds=seconds, timezone=zone, alerts_percent=alerts)
        except InvalidRequestError as error:
            params.append(error.param)
        assert all(params)


class TestOpening:
    @pytest.mark.parametrize(
        ("scope", "scope_id", "name", "field"),
        [
            ("global", "x", None, "scope_id"),
            ("team", None, None, "scope_id"),
            ("team", "", None, "scope_id"),
            ("team", "x" * 129, None, "scope_id"),
            ("team", "a\nb", None, "scope_id"),
            ("team", 5, None, "scope_id"),
            ("global", None, "", "name"),
            ("global", None, "\x00", "name"),
            ("global", None, 5, "name"),
        ],
    )
    def test_whose_spending_must_be_said_in_words_that_can_be_read(self, scope, scope_id, name, field):
        """All but global need a scope_id, and global takes none."""
        with pytest.raises(InvalidRequestError) as error:
            budget_acts.open_budget(
                parse_terms("5", "daily", "hard"),
                at_us=START_US,
                actor="t",
                scope=BudgetScope(scope),
                scope_id=scope_id,
                name=name,
            )
        assert error.value.param == field


class TestActs:
    @pytest.fixture
    def node(self):
        node = MoneyNode()
        terms = parse_terms("5", "daily", "hard", timezone="Europe/Berlin")
        opened = budget_acts.open_budget(terms, at_us=START_US, actor="t", scope=BudgetScope.Global)
        node.record(budget_stream("b"), opened)
        return node

    def budget(self, node):
        return node.state.budgets.by_id["b"]

    def top_up(self, node, amount):
        budgets, budget = node.state.budgets, self.budget(node)
        event = budget_acts.top_up(
            budget, amount, at_us=node.time_us, ends_us=budgets.ends_us(budget), actor="t"
        )
        node.record(budget_stream("b"), event)
        return event

    def test_terms_that_are_in_place_already_are_no_event(self, node):
        """Nothing is recorded of a change that is none."""
        same = parse_terms("5.0", "daily", "hard", timezone="Europe/Berlin")
        assert budget_acts.set_terms(self.budget(node), same, at_us=START_US, actor="t") is None

    def test_nothing_is_done_to_a_closed_budget(self, node):
        """Each act says so."""
        node.record(
            budget_stream("b"), budget_acts.close_budget(self.budget(node), at_us=START_US, actor="t")
        )
        closed, told = self.budget(node), {"at_us": START_US, "actor": "t"}
        for act in (
            lambda: budget_acts.set_terms(closed, parse_terms("9", "daily", "hard"), **told),
            lambda: budget_acts.set_terms(closed, closed.terms, **told),
            lambda: budget_acts.top_up(closed, 1, ends_us=START_US, **told),
            lambda: budget_acts.close_budget(closed, **told),
        ):
            with pytest.raises(ConflictError, match="closed"):
                act()

    @pytest.mark.parametrize("amount", [0, -1])
    def test_a_top_up_is_above_zero(self, node, amount):
        """Less is no top-up, but a cut that nobody asked for."""
        with pytest.raises(InvalidRequestError, match="above zero"):
            self.top_up(node, amount)

    def test_top_ups_come_to_a_billion_at_most(self, node):
        """So that no sum leaves the 64 bits that amounts are counted in."""
        self.top_up(node, (MOST_USD - 5) * NANO)
        with pytest.raises(InvalidRequestError, match="billion"):
            self.top_up(node, 1)
        assert self.budget(node).limit_nano_usd == MOST_USD * NANO

    def test_a_top_up_lasts_as_long_as_its_window(self, node):
        """At midnight of the budget's zone it is over, to the microsecond."""
        event = self.top_up(node, 1)
        assert event.until_us == 1_774_738_800_000_000  # 2026-03-29 00:00 in Berlin
        node.state.advance(event.until_us - 1)
        assert self.budget(node).limit_nano_usd == 5 * NANO + 1
        node.state.advance(event.until_us)
        assert self.budget(node).limit_nano_usd == 5 * NANO

    def test_a_closed_budget_stays_open_ended_when_its_top_up_is_over(self, node):
        """It bounds nothing, so nothing is put back in force."""
        event = self.top_up(node, 1)
        node.record(
            budget_stream("b"), budget_acts.close_budget(self.budget(node), at_us=START_US, actor="t")
        )
        node.state.advance(event.until_us)
        assert node.state.budgets.accounts.report(0, event.until_us).limit is None
        assert budget_view(node.state, self.budget(node), event.until_us).remaining == 0

    def test_top_ups_of_a_total_budget_last_for_ever(self, node):
        """There is no window that ends."""
        terms = parse_terms("5", "total", "hard")
        node.record(
            budget_stream("b"), budget_acts.set_terms(self.budget(node), terms, at_us=START_US, actor="t")
        )
        assert self.top_up(node, 1).until_us is None
        node.state.advance(START_US * 2)
        assert self.budget(node).limit_nano_usd == 5 * NANO + 1

    def test_a_top_up_of_a_rolling_budget_survives_a_clock_that_was_set_back(self, node):
        """Its length is counted from the present of the books, which never goes back."""
        terms = parse_terms("5", "hourly", "hard", rolling=True)
        node.record(
            budget_stream("b"), budget_acts.set_terms(self.budget(node), terms, at_us=START_US, actor="t")
        )
        node.time_us -= 86_400_000_000
        assert self.top_up(node, 1).until_us == START_US + 3_600_000_000
        node.state.advance(START_US + 3_599_999_999)
        assert self.budget(node).limit_nano_usd == 5 * NANO + 1
