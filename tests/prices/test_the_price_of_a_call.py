"""A call is charged by the prices that its bound was made of, whatever becomes of prices and clocks."""

from pathlib import Path

import pytest
from book_givens import FarProvider, at_us, book, entry, period, prices
from quota_givens import WallClock

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.application.replay import verify
from apikeyrouter.application.what_if import Change, Stretch, what_if
from apikeyrouter.domain.events import ClockSteppedBack, RequestCompleted, RouteDecided

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 50}
SECOND_US = 1_000_000
CHANGE_US = at_us("2026-06-01")
DEAR, CHEAP = prices(20, 40), prices(1, 2)


class _Changing(FarProvider):
    """While a call is under way, something happens."""

    def __init__(self, happens) -> None:
        super().__init__()
        self.happens = happens

    async def execute(self, call):
        await self.happens()
        return await super().execute(call)


def told(log: str) -> list[tuple]:
    """Return of each call the price of its bound and that of its cost, in dollars per million."""
    events = list(SqliteReader(Path(log)).read())
    assert verify(events).identical
    assert what_if(events, Change(), Stretch()).identical
    decided = [one.event for one in events if isinstance(one.event, RouteDecided)]
    ended = [one.event for one in events if isinstance(one.event, RequestCompleted)]
    for bound, cost in zip(decided, ended, strict=True):
        assert cost.cost_nano_usd <= bound.chosen.cost_bound_nano_usd
    return [
        (
            (bound.chosen.cost_bound_nano_usd // 1000 - bound.facts.input_tokens_bound * each.input // 10**9)
            // 50,
            each.output // 10**9,
        )
        for bound, each in zip(decided, (one.prices_nano_usd_per_million for one in ended), strict=True)
    ]


@pytest.mark.parametrize(("before", "after"), [(DEAR, CHEAP), (CHEAP, DEAR)])
async def test_a_clock_that_is_set_back_over_a_change_of_prices(
    opened, log, packaged, monkeypatch, before, after
):
    """The prices of the later time are in force already: they are held, and they are charged."""
    packaged(book(entry("m", period(before), period(after, since="2026-06-01"))))
    clock = WallClock(monkeypatch, CHANGE_US - SECOND_US)
    async with opened() as router:
        await router.register_provider("far", FarProvider())
        await router.register_key("sk-test-far", "far")
        for passed_us in (0, 2 * SECOND_US, -2 * SECOND_US, 2 * SECOND_US):
            clock.pass_us(passed_us)
            await router.route(QUESTION)
    old, new = (each.output // 10**9 for each in (before, after))
    assert told(log) == [(old, old), (new, new), (new, new), (new, new)]
    assert any(isinstance(one.event, ClockSteppedBack) for one in SqliteReader(Path(log)).read())


@pytest.mark.parametrize("is_adopted", [True, False])
async def test_prices_that_change_while_a_call_is_under_way(opened, log, packaged, is_adopted):
    """By an administrator or by another book: what was decided before is charged as it was held."""
    packaged(book(entry("m", period(CHEAP))))
    async with opened() as router:
        known = router.cost_controller.prices

        async def happens():
            if is_adopted:
                packaged(book(entry("m", period(DEAR)), version="2"))
                await known.adopt()
            else:
                await known.set("far", "m", {"input_usd_per_mtok": 20, "output_usd_per_mtok": 40})

        far = _Changing(happens)
        await router.register_provider("far", far)
        await router.register_key("sk-test-far", "far")
        await router.route(QUESTION)
        far.happens = _nothing
        await router.route(QUESTION)
    assert told(log) == [(2, 2), (40, 40)]


async def _nothing() -> None:
    pass
