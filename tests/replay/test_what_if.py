"""What would have been: unchanged, history comes out to the byte; changed, quotas and keys develop anew."""

import asyncio
import contextlib
import shutil

import pytest
from histories import CHEAP, DEAR, struck, troubled_history
from loopback import eventually, scripted
from quota_givens import ask, held, provide, running_node

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.application.what_if import AddedKey, Change, Stretch, what_if
from apikeyrouter.domain.events import (
    BudgetAlerted,
    BudgetOpened,
    KeyRegistered,
    LogRecovered,
    Prices,
    RequestReleased,
    RouteDecided,
)
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.interfaces.scripted_provider import KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings

assert CHEAP != DEAR
NOTHING = Change()
COST = Change(policy=policy_of("cost"))
PATIENT = Stretch(draws=2, wait_us=400_000)


def keys_of(history) -> list[str]:
    return [one.stream.removeprefix("key-") for one in history if isinstance(one.event, KeyRegistered)]


class TestUnchanged:
    """The control: whatever happened happens again, or nothing that is said of changes can be believed."""

    def test_history_comes_out_to_the_byte(self, history):
        """Decisions, failures, what follows for keys, quotas, queues: every event in its place."""
        found = what_if(history, NOTHING, Stretch())
        assert found.identical, found.favourable.differs_at
        assert found.favourable.bases.keys() == {"recorded"}
        assert found.before == found.favourable.tally
        assert any(isinstance(one.event, BudgetAlerted) for one in history)
        assert not found.runs

    @pytest.mark.parametrize("part", [0.1, 0.4, 0.7, 0.95])
    def test_so_does_any_stretch_of_it(self, history, part):
        """Requests that were under way when the stretch begins end as they did."""
        first = int(len(history) * part)
        found = what_if(history, NOTHING, Stretch(first=first, last=first + 60))
        assert found.identical, found.favourable.differs_at
        assert 0 < found.events <= 61

    async def test_so_does_another_history(self):
        """Another traffic, other orders of the same troubles."""
        found = what_if(await troubled_history(requests=60), NOTHING, Stretch())
        assert found.identical, found.favourable.differs_at

    async def test_so_do_the_requests_of_a_dead_process(self, tmp_path):
        """What a crash left open is released at the next start, once."""
        log, copy = tmp_path / "log.db", tmp_path / "copy.db"
        async with ScriptedProvider(scripted("b", a=KeyScript(hold=True))) as provider:
            async with running_node(RouterSettings(database_url=str(log))) as node:
                await provide(node, provider, a={"rpm": 50})
                tasks = [asyncio.create_task(ask(node)) for _ in range(5)]
                await held(provider, "a", 5)
                for name in ("log.db", "log.db-wal"):
                    shutil.copy(tmp_path / name, tmp_path / name.replace("log", "copy"))
                provider.change_key("a", hold=False)
                await asyncio.gather(*tasks)
            with contextlib.suppress(FileNotFoundError):
                shutil.copytree(tmp_path / "vault", tmp_path / "vault")
            async with running_node(RouterSettings(database_url=str(copy))) as node:
                await ask(node)
        events = list(SqliteReader(copy).read())
        assert sum(isinstance(one.event, RequestReleased) for one in events) == 5
        found = what_if(events, NOTHING, Stretch())
        assert found.identical, found.favourable.differs_at

    async def test_so_does_what_was_written_late_after_an_outage(self, tmp_path):
        """The log was full while calls failed: their ends came late, and nothing followed from them."""
        settings = RouterSettings(database_url=str(tmp_path / "log.db"), max_attempts=1)
        script = scripted("b", a=KeyScript(hold=True))
        async with ScriptedProvider(script) as provider, running_node(settings) as node:
            await provide(node, provider, a={})
            tasks = [asyncio.create_task(ask(node)) for _ in range(3)]
            await held(provider, "a", 3)
            node.reader.limit_pages(0)
            async with asyncio.timeout(20):
                while node.ready:
                    with contextlib.suppress(Exception):
                        await node.manage.pin_key(next(iter(node.state.keys)), actor="t", pinned=True)
                        await node.manage.pin_key(next(iter(node.state.keys)), actor="t", pinned=False)
            provider.change_key("a", hold=False, faults=struck(401, first=9).faults)
            await asyncio.gather(*tasks)
            node.reader.limit_pages(None)
            await eventually(lambda: node.ready, 10)
            await ask(node)
            events = list(node.reader.read())
        assert any(isinstance(one.event, LogRecovered) for one in events)
        found = what_if(events, NOTHING, Stretch())
        assert found.identical, found.favourable.differs_at


class TestChanged:
    """Each kind of change does what it says, and everything stays accounted for."""

    @pytest.mark.parametrize(
        "change",
        [COST, Change(policy=policy_of("latency")), Change(metadata={"*": {"rpm": 12, "tpm": None}})],
    )
    def test_every_request_comes_to_one_end(self, history, change):
        """As many ends as requests, whatever else is different."""
        found = what_if(history, change, PATIENT)
        assert not found.identical
        for run in found.runs:
            tally = run.tally
            ends = tally.completed + tally.failed + tally.refused + tally.cancelled + tally.released
            assert ends == found.requests
            assert sum(run.bases.values()) == tally.attempts

    def test_a_removed_key_serves_nobody(self, history):
        """From the beginning of the stretch on."""
        gone = keys_of(history)[0]
        found = what_if(history, Change(removed=(gone,)), PATIENT)
        assert found.before.keys[gone].completed
        assert all(gone not in run.tally.keys for run in found.runs)

    def test_a_removed_key_finishes_what_it_had_begun(self, history):
        """In the middle of a history no new request goes to it."""
        gone, first = keys_of(history)[0], len(history) // 2
        found = what_if(history, Change(removed=(gone,)), Stretch(first=first, draws=1))
        served = found.runs[0].tally.keys.get(gone)
        assert served is None or served.chosen == 0

    def test_an_added_key_takes_its_share(self, history):
        """And since nothing is known of it, that is said of its calls."""
        added = AddedKey(key_id="more", provider_id="azure", metadata={"weight": 50})
        found = what_if(history, Change(added=(added,)), PATIENT)
        for run in found.runs:
            assert run.tally.keys["more"].chosen > 10
            assert run.bases["unknown"] >= run.tally.keys["more"].chosen

    def test_tighter_limits_refuse_more(self, history):
        """One request a minute and key, and nobody may wait."""
        found = what_if(history, Change(metadata={"*": {"rpm": 1}}), Stretch(draws=2))
        for run in found.runs:
            assert run.tally.refused > 50
            assert run.tally.attempts <= 8 * 3

    def test_other_prices_change_the_cost_and_no_choice(self, history):
        """Under fairness prices do not matter; what was consumed is charged anew."""
        prices = Prices(input=2_000_000, output=4_000_000)
        change = Change(prices={(provider, "gpt-4"): prices for provider in ("openai", "azure")})
        found = what_if(history, change, PATIENT)
        run = found.runs[0]
        assert run.choices == {}
        assert run.bases.keys() == {"recorded"}
        assert run.tally.input_tokens == found.before.input_tokens
        expected = run.tally.input_tokens * 2 + run.tally.output_tokens * 4
        assert run.tally.cost_nano_usd == expected

    def test_a_tighter_budget_refuses_what_no_longer_fits(self, history):
        """Hard as it is, never a nano-dollar over; what the other provider can serve it serves."""
        budget_id = next(
            one.stream.removeprefix("budget-")
            for one in history
            if isinstance(one.event, BudgetOpened) and one.event.scope_id == "openai"
        )
        limit = 2_000_000
        for change in (Change(budgets={budget_id: limit}), Change(budgets={budget_id: 0})):
            found = what_if(history, change, PATIENT)
            for run in (found.favourable, *found.runs):
                served = run.tally.providers.get("openai")
                assert served is None or served.cost_nano_usd <= limit
        assert found.before.providers["openai"].cost_nano_usd > limit

    def test_draws_differ_and_a_run_repeats_itself(self, history):
        """The same question twice has the same answer; what is not known makes the range."""
        once, again = (what_if(history, COST, Stretch(draws=3)) for _ in range(2))
        assert once == again

    def test_the_first_difference_is_named(self, history):
        """Up to it everything was the same, by whichever change."""
        found = what_if(history, COST, Stretch(draws=1))
        first = found.runs[0].first_difference
        assert isinstance(history[first - 1].event, RouteDecided)
        assert what_if(history, COST, Stretch(draws=1, last=first - 1)).identical
