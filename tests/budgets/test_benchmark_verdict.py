"""What the benchmark of budgets says of a gateway: money over budgets, and refusals in vain."""

import pytest

pytest.importorskip("aiohttp", reason="the load generator is part of the extra for benchmarks")
pytest.importorskip("benchmarks.budgets", reason="the benchmarks are not beside this project")

from apikeyrouter.interfaces.scripted_provider import Call
from benchmarks.budgets.crowd import Told
from benchmarks.budgets.plan import KEYS, Ask, HardBudget, Load, loads
from benchmarks.budgets.verdict import judge

ASKS = tuple(Ask(number, "client-0", 100, 100, stream=False) for number in range(3))
KEY = KEYS[0]
COST = KEY.cost(100, 50)
BOUND = ASKS[0].tightest_bound(KEY)
SECOND_US = 1_000_000


def call(number: int, at_us: int, ended_us: int) -> Call:
    return Call(
        number=number,
        key=KEY.name,
        operation="chat",
        at_us=at_us,
        ended_us=ended_us,
        user=str(number),
        input_tokens=100,
        output_tokens=50,
    )


def verdict(limit: int, *calls: Call, refused_at_us: int = 10 * SECOND_US):
    load = Load("callers", "", ASKS, (HardBudget("client", "client-0", limit),))
    refused = Told(ASKS[2], 429, True, refused_at_us, refused_at_us + 1000)
    return judge(load, [refused], calls, Ask.tightest_bound, cpu_ms=1.0)


def test_what_was_billed_above_a_limit_is_told():
    """The bill of the provider counts, budget by budget."""
    seen = verdict(COST + 1, call(0, 0, SECOND_US), call(1, 0, SECOND_US))
    assert (seen.billed, seen.over, seen.over_by) == (2 * COST, COST - 1, {"client client-0": COST - 1})
    assert seen.left == 0


def test_a_refusal_is_in_vain_if_the_request_fits_for_certain():
    """Room for exactly its bound beside what is spent is room enough; a nano-dollar less is not."""
    cheapest = min(ASKS[2].tightest_bound(key) for key in KEYS)
    assert verdict(COST + cheapest, call(0, 0, SECOND_US)).refused_though_tightest_fits == 1
    assert verdict(COST + cheapest - 1, call(0, 0, SECOND_US)).refused_though_tightest_fits == 0


def test_what_is_under_way_counts_at_its_bound():
    """While a call goes on, nobody can know that it will cost less than its bound."""
    under_way = call(0, 9 * SECOND_US, 11 * SECOND_US)
    assert BOUND > COST
    assert verdict(COST + BOUND, under_way).refused_though_tightest_fits == 0
    assert verdict(2 * BOUND, under_way).refused_though_tightest_fits == 1


def test_a_later_call_is_no_reason_for_an_earlier_refusal():
    """Only what had been asked for by then stood in the way."""
    assert verdict(BOUND, call(0, 20 * SECOND_US, 21 * SECOND_US)).refused_though_tightest_fits == 1


def test_the_same_seed_draws_the_same_load():
    """All gateways of a round are given the same requests and budgets, and the budgets do not suffice."""
    first, second = loads(50, 3), loads(50, 3)
    assert first == second
    assert all(len(load.budgets) == len({(each.scope, each.name) for each in load.budgets}) for load in first)
