"""What is declared anew of a budget, laid over its terms."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.domain.budget_terms import MOST_USD, parse_terms
from apikeyrouter.domain.models.budget import EnforcementMode, TimeWindow
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.interfaces.budget_changes import changed_terms

AMOUNTS = st.decimals(0, MOST_USD, places=9)


@st.composite
def terms(draw):
    period = draw(st.sampled_from(TimeWindow))
    rolling = period is not TimeWindow.Total and draw(st.booleans())
    return parse_terms(
        draw(AMOUNTS),
        period,
        draw(st.sampled_from(EnforcementMode)),
        rolling=rolling,
        seconds=draw(st.integers(1, 10**6)) if period is TimeWindow.Custom else None,
        timezone="UTC" if rolling else draw(st.sampled_from(["UTC", "Europe/Berlin"])),
        alerts_percent=draw(st.lists(st.integers(1, 1000), max_size=4)),
        downgrade=draw(st.booleans()),
    )


@given(terms())
def test_nothing_new_changes_nothing(before):
    """Whatever the terms are, they come out as they went in, to the nano-dollar."""
    assert changed_terms(before, {}) == before


@given(terms(), AMOUNTS)
def test_a_limit_changes_alone(before, limit):
    """Everything else stays."""
    after = changed_terms(before, {"limit": str(limit)})
    assert after.limit_nano_usd == int(Decimal(limit) * 10**9)
    assert changed_terms(after, {"limit": Decimal(before.limit_nano_usd) / 10**9}) == before


@given(terms())
def test_a_calendar_month_is_always_possible(before):
    """Whatever belonged to the window before goes with it."""
    after = changed_terms(before, {"period": "monthly", "rolling": False})
    assert (after.unit, after.kind, after.seconds, after.zone) == ("month", "fixed", 0, before.zone)


@given(terms())
def test_what_contradicts_itself_is_refused(before):
    """A length that the period has already, and a zone in a window that has none."""
    with pytest.raises(InvalidRequestError, match="length"):
        changed_terms(before, {"period": "daily", "seconds": 5, "rolling": False})
    with pytest.raises(InvalidRequestError, match="time zone"):
        changed_terms(before, {"period": "daily", "rolling": True, "timezone": "Europe/Berlin"})
