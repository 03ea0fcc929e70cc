"""What a broken stream cost counts where the call was reserved, however late it breaks."""

import pytest
from money_node import START_US
from test_budget_thresholds import DAY_US, DOLLAR, HOUR_US, Spender

from apikeyrouter.application.replay import verify
from apikeyrouter.domain.events import AttemptFailed, RequestFailed


def broken_off(spender: Spender, dollars: int) -> tuple[AttemptFailed, RequestFailed]:
    """Return how a stream ends as the line tells it: the attempt is freed, then the request has its cost."""
    at_us = spender.node.time_us
    freed = AttemptFailed(
        at_us=at_us,
        attempt=1,
        key_id="k",
        provider_id="p",
        failure="broken_answer",
        effect="nothing",
        elapsed_us=1,
    )
    ended = RequestFailed(
        at_us=at_us,
        attempts=1,
        failure="broken_answer",
        status=502,
        usage_source="bounded",
        cost_nano_usd=dollars * DOLLAR,
    )
    return freed, ended


def break_off(spender: Spender, stream: str, dollars: int) -> None:
    for event in broken_off(spender, dollars):
        spender.node.record_of_request(stream, event)


def remaining(spender: Spender) -> int:
    return spender.node.state.budgets.remaining(spender.budget.row) // DOLLAR


def refold(spender: Spender) -> None:
    """From the log comes the same, and every decision again."""
    again = spender.node.refolded()
    assert again.budgets.accounts.used.tobytes() == spender.node.state.budgets.accounts.used.tobytes()
    assert verify(spender.node.log.read()).identical


@pytest.mark.parametrize(("period", "fields"), [("daily", {}), ("daily", {"rolling": True})])
def test_a_window_that_is_full_is_not_overrun_by_a_stream_of_the_last_one(period, fields):
    """It was reserved before, and counts there; what is here now was let in without it."""
    spender = Spender(period=period, mode="hard", **fields)
    late = spender.dispatch(9)
    spender.node.time_us += DAY_US
    full = spender.dispatch(10)
    assert remaining(spender) == 0
    break_off(spender, late, 9)
    assert remaining(spender) == 0
    spender.spend(10, full)
    assert remaining(spender) == 0
    refold(spender)


def test_within_its_window_it_counts_and_is_told():
    """What was freed is taken again, and thresholds are looked at."""
    spender = Spender(mode="hard")
    stream = spender.dispatch(9)
    break_off(spender, stream, 8)
    assert remaining(spender) == 2
    assert spender.told == [80]
    refold(spender)


def test_it_leaves_a_rolling_window_one_length_after_it_was_reserved():
    """Not after it broke: till then it would keep out what fits."""
    spender = Spender(period="hourly", rolling=True, mode="hard")
    stream = spender.dispatch(9)
    spender.node.time_us += HOUR_US // 2
    break_off(spender, stream, 8)
    spender.node.time_us = START_US + HOUR_US - 1
    spender.node.state.advance(spender.node.time_us)
    assert remaining(spender) == 2
    spender.node.time_us += 1
    spender.spend(10)
    assert remaining(spender) == 0
    refold(spender)


def test_a_window_of_another_kind_has_forgotten_what_was_over_before():
    """Also where the terms changed in between: nothing of a former window comes into the new one."""
    spender = Spender(period="hourly", mode="hard")
    late = spender.dispatch(9)
    spender.node.time_us += HOUR_US
    spender.set_terms(period="daily", mode="hard")
    spender.dispatch(10)
    break_off(spender, late, 9)
    assert remaining(spender) == 0
    refold(spender)
