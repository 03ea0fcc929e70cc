"""Limits are kept to the last unit and what fits is served: at once, after restarts, in the next window."""

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from loopback import eventually, scripted
from quota_givens import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    SECOND_US,
    WallClock,
    account,
    ask,
    ask_all,
    asking,
    calls,
    held,
    in_good_order,
    provide,
    running_node,
)

from apikeyrouter.domain.models.system_error import NoEligibleKeysError
from apikeyrouter.interfaces.scripted_provider import KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings

MIDNIGHT_US = 12 * HOUR_US
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def clock(monkeypatch):
    return WallClock(monkeypatch)


@pytest.fixture
def settings(tmp_path):
    return RouterSettings(database_url=str(tmp_path / "log.db"), synchronous="NORMAL")


def instant_us(*when: int) -> int:
    return int(datetime(*when, tzinfo=BERLIN).timestamp()) * SECOND_US


async def test_a_hundred_a_day_serves_exactly_a_hundred(clock, settings):
    """By 64 tasks, through restarts in the middle and on two days: a hundred a day, no more and no less."""
    async with ScriptedProvider(scripted("a")) as provider:
        for served in (100, 200):
            statuses = {200: 0, 429: 0}
            for _ in range(3):
                async with running_node(settings) as node:
                    if not node.state.keys:
                        await provide(node, provider, a={"rpd": 100})
                    for status, count in (await ask_all(node, 45)).items():
                        statuses[status] += count
                    clock.pass_us(HOUR_US)
            assert statuses == {200: 100, 429: 35}
            assert calls(provider) == served
            clock.pass_us(DAY_US - 3 * HOUR_US)
        async with running_node(settings) as node:
            await in_good_order(node)


async def test_a_refusal_names_the_reset_and_the_reset_serves_again(clock):
    """Up to the last microsecond of the day nothing is served; at midnight everything is there again."""
    async with ScriptedProvider(scripted("a")) as provider, running_node() as node:
        await provide(node, provider, a={"rpd": 2})
        assert (await ask_all(node, 2)) == {200: 2}
        clock.pass_us(MIDNIGHT_US - 1)
        with pytest.raises(NoEligibleKeysError) as refused:
            await node.route.execute(asking())
        assert refused.value.http_status == 429
        assert refused.value.retry_after == pytest.approx(1e-6)
        assert refused.value.excluded == {"quota": 1}
        clock.pass_us(1)
        assert (await ask_all(node, 3)) == {200: 2, 429: 1}
        await in_good_order(node)


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 6, 1), 24)])
async def test_a_day_lasts_as_long_as_it_does_where_the_provider_lives(clock, day, hours):
    """On the days on which clocks change, a day's limit holds for 23 or 25 hours."""
    clock.now_us = instant_us(*day)
    async with ScriptedProvider(scripted("a")) as provider, running_node() as node:
        await provide(node, provider, a={"rpd": 2, "quota_timezone": "Europe/Berlin"})
        assert (await ask_all(node, 3)) == {200: 2, 429: 1}
        clock.pass_us(hours * HOUR_US - 1)
        assert await ask(node) == 429
        clock.pass_us(1)
        assert (await ask_all(node, 3)) == {200: 2, 429: 1}
        await in_good_order(node)


async def test_a_rolling_minute_gives_back_what_has_left_it_and_no_more(clock, settings):
    """Each request leaves its minute at its own instant, also across a restart."""
    async with ScriptedProvider(scripted("a")) as provider:
        async with running_node(settings) as node:
            await provide(node, provider, a={"rpm": 10})
            assert (await ask_all(node, 4)) == {200: 4}
            clock.pass_us(30 * SECOND_US)
            assert (await ask_all(node, 64)) == {200: 6, 429: 58}
            clock.pass_us(30 * SECOND_US - 1)
            assert await ask(node) == 429
        clock.pass_us(1)
        async with running_node(settings) as node:
            assert (await ask_all(node, 64)) == {200: 4, 429: 60}
            clock.pass_us(30 * SECOND_US)
            assert (await ask_all(node, 64)) == {200: 6, 429: 58}
            await in_good_order(node)


async def test_tokens_are_held_by_their_bound_and_counted_by_their_use(clock):
    """Calls under way hold what they could use; once settled, the rest is there for others."""
    bound = asking().facts.body_bytes + 8
    async with ScriptedProvider(scripted(a=KeyScript(hold=True))) as provider, running_node() as node:
        (key_id,) = await provide(node, provider, a={"tpm": 10 * bound + bound - 1})
        first = [asyncio.create_task(ask(node)) for _ in range(64)]
        await held(provider, "a", 10)
        await eventually(lambda: sum(task.done() for task in first) == 54)
        tokens = account(node, f"key-{key_id}/tokens/minute")
        assert (tokens.reserved, tokens.settled) == (10 * bound, 0)
        provider.change_key("a", hold=False)
        assert sorted(await asyncio.gather(*first)) == [200] * 10 + [429] * 54
        (line,) = provider.ledger().bill
        used = line.input_tokens + line.output_tokens
        tokens = account(node, f"key-{key_id}/tokens/minute")
        assert (tokens.reserved, tokens.settled) == (0, used)
        provider.change_key("a", hold=True)
        fit = (11 * bound - 1 - used) // bound
        again = [asyncio.create_task(ask(node)) for _ in range(20)]
        await held(provider, "a", fit)
        await eventually(lambda: sum(task.done() for task in again) == 20 - fit)
        provider.change_key("a", hold=False)
        assert sorted(await asyncio.gather(*again)) == [200] * fit + [429] * (20 - fit)
        await in_good_order(node)


async def test_limits_of_a_model_bind_that_model_alone(clock):
    """A model's own limit, one that two models share, and one of the whole key hold at once."""
    limits = {"rpm": 10, "rpm:m1": 3, "rpm:m2|m3": 4}
    async with ScriptedProvider(scripted("a")) as provider, running_node() as node:
        await provide(node, provider, a=limits)
        assert (await ask_all(node, 9, wanted=asking(model="m1"))) == {200: 3, 429: 6}
        assert (await ask_all(node, 2, wanted=asking(model="m2"))) == {200: 2}
        assert (await ask_all(node, 9, wanted=asking(model="m3"))) == {200: 2, 429: 7}
        assert (await ask_all(node, 9, wanted=asking(model="m4"))) == {200: 3, 429: 6}
        clock.pass_us(MINUTE_US)
        assert (await ask_all(node, 20, wanted=asking(model="m4"))) == {200: 10, 429: 10}
        await in_good_order(node)


async def test_every_limit_of_a_key_is_kept_or_nothing_is_reserved(clock):
    """A request that fits one account and not the other takes from neither."""
    async with ScriptedProvider(scripted("a")) as provider, running_node() as node:
        (key_id,) = await provide(node, provider, a={"rpm": 5, "rpd": 7})
        assert (await ask_all(node, 20)) == {200: 5, 429: 15}
        assert account(node, f"key-{key_id}/requests/day").settled == 5
        clock.pass_us(MINUTE_US)
        assert (await ask_all(node, 20)) == {200: 2, 429: 18}
        assert account(node, f"key-{key_id}/requests/minute").settled == 2
        await in_good_order(node)


async def test_keys_of_a_group_share_one_account(clock):
    """Two keys of a group have one limit together; the group of another provider is another."""
    shared = {"rpd": 10, "quota_group": "org"}
    async with (
        ScriptedProvider(scripted("a", "b")) as provider,
        ScriptedProvider(scripted("c")) as other,
        running_node() as node,
    ):
        await provide(node, provider, a=shared, b=shared)
        assert (await ask_all(node, 30)) == {200: 10, 429: 20}
        assert min(calls(provider, "a"), calls(provider, "b")) > 0
        await provide(node, other, "other", c=shared)
        assert (await ask_all(node, 30)) == {200: 10, 429: 20}
        assert calls(other) == 10
        await in_good_order(node)


@pytest.mark.parametrize("amounts", [(3, 8), (8, 3)])
async def test_the_smallest_of_a_groups_declarations_holds_whoever_came_first(clock, amounts):
    """What two keys of a group declare differently is kept by the smaller; without it, the larger holds."""
    first, second = ({"rpd": amount, "quota_group": "org"} for amount in amounts)
    async with ScriptedProvider(scripted("a", "b")) as provider, running_node() as node:
        key_ids = await provide(node, provider, a=first, b=second)
        assert (await ask_all(node, 20)) == {200: 3, 429: 17}
        await node.manage.revoke_key(key_ids[amounts.index(3)], actor="test")
        assert (await ask_all(node, 20)) == {200: 5, 429: 15}
        await in_good_order(node)


async def test_a_limit_changed_by_hand_holds_at_once(clock):
    """What was used counts against the new limit; a limit taken away is gone."""
    async with ScriptedProvider(scripted("a")) as provider, running_node() as node:
        (key_id,) = await provide(node, provider, a={"rpd": 10})
        assert (await ask_all(node, 6)) == {200: 6}
        await node.manage.change_key_metadata(key_id, {"rpd": 4}, actor="test")
        assert await ask(node) == 429
        await node.manage.change_key_metadata(key_id, {"rpd": 8}, actor="test")
        assert (await ask_all(node, 6)) == {200: 2, 429: 4}
        await node.manage.change_key_metadata(key_id, {}, actor="test")
        assert (await ask_all(node, 6)) == {200: 6}
        await in_good_order(node)


async def test_never_more_calls_at_once_than_declared():
    """Sixty requests, three at a time: the provider never sees a fourth, and everybody is served."""
    slow = KeyScript(latency_ms=(1, 6))
    settings = RouterSettings(queue_timeout_s=20)
    async with ScriptedProvider(scripted(a=slow, b=slow)) as provider, running_node(settings) as node:
        await provide(node, provider, a={"max_concurrency": 3}, b={"max_concurrency": 1})
        assert (await ask_all(node, 60)) == {200: 60}
        most_open = {name: tally.most_open for name, tally in provider.ledger(0).keys.items()}
        assert most_open == {"a": 3, "b": 1}
        assert not node.state.open_requests
        await in_good_order(node)


async def test_who_fits_nowhere_is_refused_and_holds_nothing(clock):
    """A request larger than a whole window is refused, without a hope of later, and others go on."""
    async with ScriptedProvider(scripted("a")) as provider, running_node() as node:
        await provide(node, provider, a={"tpm": 500})
        with pytest.raises(NoEligibleKeysError) as refused:
            await node.route.execute(asking(tokens=5000))
        assert refused.value.retry_after is None
        assert await ask(node) == 200
        await in_good_order(node)
