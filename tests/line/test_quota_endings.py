"""Whatever becomes of a call, its reservation ends once, with what the call can have used."""

import asyncio
from collections import Counter

import pytest
from loopback import eventually, material_of, scripted
from quota_givens import (
    SECOND_US,
    WallClock,
    account,
    ask,
    asking,
    calls,
    held,
    in_good_order,
    provide,
    read_stream,
    running_node,
)

from apikeyrouter.domain.models.system_error import LogUnavailableError
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings


@pytest.fixture
def clock(monkeypatch):
    return WallClock(monkeypatch)


@pytest.fixture
def settings(tmp_path):
    return RouterSettings(database_url=str(tmp_path / "log.db"), synchronous="NORMAL")


BOUND = asking().facts.body_bytes + 8
LIMITS = {"rpd": 10, "tpd": 5000}


def standing(node, key_id: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return settled and reserved requests, and settled and reserved tokens."""
    requests = account(node, f"key-{key_id}/requests/day")
    tokens = account(node, f"key-{key_id}/tokens/day")
    return (requests.settled, requests.reserved), (tokens.settled, tokens.reserved)


class TestEveryEnding:
    """Whatever becomes of a call, its reservation ends once, with what the call can have used."""

    async def test_a_refused_call_counts_as_a_request_without_tokens(self, clock):
        """429 and 500 reached the provider: a request each, on the key that made it."""
        faults = (Fault(kind=FaultKind.Status, status=500, first=1), Fault(kind=FaultKind.Status, status=429))
        script = KeyScript(faults=faults)
        async with ScriptedProvider(scripted(a=script)) as provider, running_node() as node:
            (key_id,) = await provide(node, provider, a=LIMITS)
            assert await ask(node) == 502
            assert standing(node, key_id) == ((1, 0), (0, 0))
            assert await ask(node) == 429
            assert standing(node, key_id) == ((2, 0), (0, 0))
            await in_good_order(node)

    async def test_a_call_that_was_never_sent_counts_nothing(self, clock):
        """Nobody listens: what was held is given back."""
        async with ScriptedProvider(scripted("a")) as provider, running_node() as node:
            (key_id,) = await provide(node, provider, a=LIMITS)
            gone = provider
        async with running_node() as node:
            (key_id,) = await provide(node, gone, a=LIMITS)
            assert await ask(node) == 502
            assert standing(node, key_id) == ((0, 0), (0, 0))
            await in_good_order(node)

    async def test_a_client_that_leaves_before_the_answer_is_counted_by_what_was_asked(self, clock):
        """The provider has the prompt and goes on with the answer: a request and its whole bound stay."""
        async with ScriptedProvider(scripted(a=KeyScript(hold=True))) as provider, running_node() as node:
            (key_id,) = await provide(node, provider, a=LIMITS)
            asked = asyncio.create_task(ask(node))
            await held(provider, "a", 1)
            assert standing(node, key_id) == ((0, 1), (0, BOUND))
            asked.cancel()
            await asyncio.wait([asked])
            assert standing(node, key_id) == ((1, 0), (BOUND, 0))
            await in_good_order(node)

    async def test_a_client_that_leaves_in_mid_stream_is_counted_by_no_more_than_was_held(self, clock):
        """Text was on its way: at most what the request had allowed is used, however wordy the stream is."""
        slow = KeyScript(token_ms=1)
        async with ScriptedProvider(scripted(a=slow)) as provider, running_node() as node:
            (key_id,) = await provide(node, provider, a=LIMITS)
            wanted = asking(stream=True)
            await read_stream(node, wanted, chunks=3)
            requests, (settled, reserved) = standing(node, key_id)
            assert (requests, reserved) == ((1, 0), 0)
            assert wanted.facts.body_bytes <= settled <= wanted.facts.body_bytes + 8
            await in_good_order(node)

    async def test_a_stream_that_breaks_is_counted_by_no_more_than_was_held(self, clock):
        """Text has reached the client and no count has: the bound of the request is what was used."""
        cut = KeyScript(faults=(Fault(kind=FaultKind.CutMidStream),))
        async with ScriptedProvider(scripted(a=cut)) as provider, running_node() as node:
            (key_id,) = await provide(node, provider, a=LIMITS)
            wanted = asking(stream=True)
            assert await ask(node, wanted) >= 500
            requests, (settled, reserved) = standing(node, key_id)
            assert (requests, reserved) == ((1, 0), 0)
            assert wanted.facts.body_bytes <= settled <= wanted.facts.body_bytes + 8
            await in_good_order(node)

    async def test_failing_over_counts_on_both_keys(self, clock):
        """The key that failed has made a request, the one that served a request and its tokens."""
        broken = KeyScript(faults=(Fault(kind=FaultKind.Status, status=500),))
        async with ScriptedProvider(scripted("b", a=broken)) as provider, running_node() as node:
            first, second = await provide(node, provider, a=LIMITS, b=LIMITS)
            await node.manage.pin_key(first, actor="test")
            assert await ask(node) == 200
            assert standing(node, first) == ((1, 0), (0, 0))
            (line,) = provider.ledger().bill
            assert standing(node, second) == ((1, 0), (line.input_tokens + line.output_tokens, 0))
            await in_good_order(node)

    async def test_who_leaves_before_anything_was_sent_takes_nothing(self, clock, settings):
        """The decision is being written when the client leaves: the provider knows nothing of it."""
        async with ScriptedProvider(scripted("a")) as provider, running_node(settings) as node:
            (key_id,) = await provide(node, provider, a=LIMITS)
            asked = asyncio.create_task(ask(node))
            await asyncio.sleep(0)
            assert standing(node, key_id) == ((0, 1), (0, BOUND))
            asked.cancel()
            await asyncio.wait([asked])
            assert calls(provider) == 0
            assert standing(node, key_id) == ((0, 0), (0, 0))
            await in_good_order(node)


class TestWhenTheLogFails:
    """An outage of the log in the middle of a call loses no count of it."""

    @pytest.fixture
    async def outage(self, settings):
        """A node with a call held at the provider, and a log that takes nothing more."""
        script = KeyScript(hold=True)
        async with ScriptedProvider(scripted(a=script)) as provider, running_node(settings) as node:
            (key_id,) = await provide(node, provider, a=LIMITS)
            yield Outage(node, provider, key_id)

    @pytest.mark.parametrize("status", [429, 500])
    async def test_a_refused_call_still_counts(self, clock, outage, status):
        """The provider has seen a request, whatever it said, and although nobody could write that down."""
        outage.provider.change_key("a", faults=(Fault(kind=FaultKind.Status, status=status),))
        assert await outage.ends_while_the_log_is_full(asking()) == 503
        assert standing(outage.node, outage.key_id) == ((1, 0), (0, 0))
        await in_good_order(outage.node)

    async def test_an_answered_call_still_counts(self, clock, outage):
        """The answer is withheld, and what it cost is written once the log works again."""
        assert await outage.ends_while_the_log_is_full(asking()) == 503
        (line,) = outage.provider.ledger().bill
        used = line.input_tokens + line.output_tokens
        assert standing(outage.node, outage.key_id) == ((1, 0), (used, 0))
        await in_good_order(outage.node)

    async def test_a_broken_stream_still_ends(self, clock, outage):
        """The stream breaks while the log is full: afterwards nothing is held for it."""
        outage.provider.change_key("a", faults=(Fault(kind=FaultKind.CutMidStream),))
        wanted = asking(stream=True)
        assert await outage.ends_while_the_log_is_full(wanted) == 503
        assert not outage.node.state.open_requests
        requests, (_, reserved) = standing(outage.node, outage.key_id)
        assert (requests, reserved) == ((1, 0), 0)
        await in_good_order(outage.node)

    async def test_a_refusal_whose_record_was_lost_still_counts(self, clock):
        """The failed attempt was handed to the log and never arrived: the provider has seen it."""
        fault = Fault(kind=FaultKind.Status, status=500)
        script = KeyScript(hold=True, faults=(fault,))
        async with ScriptedProvider(scripted(a=script)) as provider, running_node() as node:
            (key_id,) = await provide(node, provider, a=LIMITS)
            asked = asyncio.create_task(ask(node))
            await held(provider, "a", 1)
            node.journal.log.append = Losing(node.journal.log)
            provider.change_key("a", hold=False)
            assert await asked == 503
            await eventually(lambda: node.ready and not node.state.open_requests)
            assert standing(node, key_id) == ((1, 0), (0, 0))
            await in_good_order(node)

    async def test_a_call_that_ends_while_the_log_recovers_is_not_forgotten(self, clock, outage):
        """Its end comes after those that are being written already: it is written as well."""
        node, provider = outage.node, outage.provider
        provider.put_key("b", KeyScript(key=material_of("b"), hold=True))
        await provide(node, provider, b=LIMITS)
        await node.manage.disable_key(outage.key_id, actor="test")
        late = asyncio.create_task(ask(node))
        await held(provider, "b", 1)
        await node.manage.enable_key(outage.key_id, actor="test")
        await node.manage.pin_key(outage.key_id, actor="test")
        ended = asyncio.create_task(outage.ends_while_the_log_is_full(asking()))
        recovering = WritingSlowly(node.journal.log)
        await asyncio.wait_for(recovering.started.wait(), 10)
        provider.change_key("b", hold=False)
        assert await late == 503
        recovering.go_on.set()
        assert await ended == 503
        await eventually(lambda: node.ready and not node.state.open_requests)
        await in_good_order(node)


class Losing:
    """Takes one append of a log in memory and fails to write it, as a full disk does."""

    def __init__(self, log) -> None:
        self._log, self._append = log, log.append

    def __call__(self, events):
        self._log.append, self._log.available = self._append, False
        lost = asyncio.get_running_loop().create_future()
        lost.set_exception(LogUnavailableError("the disk is full"))
        lost.exception()
        return lost


class WritingSlowly:
    """Holds back the news that the next append of a log is durable."""

    def __init__(self, log) -> None:
        self.started, self.go_on = asyncio.Event(), asyncio.Event()
        self._reopen, self._append, self._log = log.reopen, log.append, log
        log.reopen = self.reopened

    async def reopened(self) -> None:
        """Only the append after a recovery is held back."""
        await self._reopen()
        self._log.append, self._log.reopen = self.appended, self._reopen

    def appended(self, events):
        self._log.append = self._append
        return asyncio.ensure_future(self._durable(self._append(events)))

    async def _durable(self, durable) -> None:
        self.started.set()
        await self.go_on.wait()
        await durable


class Outage:
    """A node whose log can be filled while a call is held at the provider."""

    def __init__(self, node, provider, key_id) -> None:
        self.node, self.provider, self.key_id = node, provider, key_id

    async def ends_while_the_log_is_full(self, wanted) -> int:
        """Let a call end while nothing can be written; return its status once the log works again."""
        asked = asyncio.create_task(ask(self.node, wanted))
        await held(self.provider, "a", 1)
        self.node.reader.limit_pages(0)
        async with asyncio.timeout(10):
            while self.node.ready:
                await ask(self.node, asking("filler", pad=4000, tokens=4000))
        self.provider.change_key("a", hold=False)
        status = await asked
        self.node.reader.limit_pages(None)
        await eventually(lambda: self.node.ready, 10)
        return status


MESSY = {
    "flaky": KeyScript(faults=(Fault(kind=FaultKind.Status, status=500, probability=0.1),)),
    "throttled": KeyScript(rpm=40, latency_ms=(0, 4)),
    "cut": KeyScript(faults=(Fault(kind=FaultKind.CutMidStream, probability=0.3),)),
    "slow": KeyScript(latency_ms=(0, 30)),
    "plain": KeyScript(),
}
MESSY_LIMITS = {
    "flaky": {"rpm": 50},
    "throttled": {},
    "cut": {"tpm": 4000, "quota_group": "org"},
    "slow": {"max_concurrency": 4, "quota_group": "org", "tpm": 4000},
    "plain": {"rpd": 60, "rps": 30},
}


async def messy_client(node, number: int) -> Counter:
    """Ask whole and streamed, in the name of four clients, and leave some requests at any moment."""
    outcomes: Counter = Counter()
    for turn in range(4):
        wanted = asking(f"c{number % 4}", stream=(number + turn) % 2 == 0, pad=number)
        asked = asyncio.create_task(ask(node, wanted))
        await asyncio.wait([asked], timeout=(number % 7) / 500 if turn == 2 else None)
        asked.cancel()
        await asyncio.wait([asked])
        outcomes["left" if asked.cancelled() else asked.result()] += 1
    return outcomes


async def test_the_books_of_a_messy_run_balance_at_every_position(clock, tmp_path):
    """Failing, throttled and cut keys, clients that leave, restarts, a full log: the log alone proves it."""
    settings = RouterSettings(database_url=str(tmp_path / "log.db"), queue_timeout_s=0.2)
    outcomes: Counter = Counter()
    async with ScriptedProvider(scripted(**MESSY)) as provider:
        for round_number in range(3):
            async with running_node(settings) as node:
                if not node.state.keys:
                    await provide(node, provider, **MESSY_LIMITS)
                clients = asyncio.gather(*(messy_client(node, number) for number in range(48)))
                if round_number == 1:
                    await eventually(lambda: calls(provider) > 150)
                    node.reader.limit_pages(0)
                    await eventually(lambda n=node: not n.ready, 10)
                    node.reader.limit_pages(None)
                for each in await clients:
                    outcomes += each
                await eventually(lambda n=node: n.ready and not n.state.open_requests, 10)
            clock.pass_us(40 * SECOND_US)
        async with running_node(settings) as node:
            plain = account(node, f"key-{list(node.state.keys)[4]}/requests/day")
            assert calls(provider, "plain") <= plain.settled + plain.reserved <= 60
            await in_good_order(node)
    assert outcomes[200] > 100
    assert {200, 429, "left"} <= set(outcomes)
