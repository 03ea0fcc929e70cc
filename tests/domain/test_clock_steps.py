"""A clock that is set back: flagged once, and every decision comes out again from the log all the same."""

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import SECOND_US, START_US

from apikeyrouter.adapters.eventlog.memory_log import MemoryLog
from apikeyrouter.application.durability import Durability
from apikeyrouter.application.journal import Journal
from apikeyrouter.application.manage import Manage
from apikeyrouter.application.passage import Order
from apikeyrouter.application.providers import ProviderRegistry
from apikeyrouter.application.recover import start_node, stop_node
from apikeyrouter.application.replay import verify
from apikeyrouter.application.route_request import RouteRequest
from apikeyrouter.domain.events import (
    ClockSteppedBack,
    KeyStateChanged,
    NodeStarted,
    RequestCompleted,
    RequestFacts,
    RouteDecided,
    RouteDeferred,
)
from apikeyrouter.domain.failures import AttemptFailedError, Failure, FailureClass
from apikeyrouter.domain.interfaces.provider_adapter import ProviderDescription, UpstreamAnswer, Usage
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.domain.models.system_error import SystemError as RouterError
from apikeyrouter.domain.objectives import policy_of

MILLISECOND_US = 1000
DAY_US = 86_400 * SECOND_US
STEPS_US = [MILLISECOND_US, SECOND_US, DAY_US]


class SetClock:
    """A wall clock that is set by hand beside one that only ticks; ids and seeds that count."""

    def __init__(self) -> None:
        self.wall_us = START_US
        self.ticks = 0

    def now_us(self) -> int:
        return self.wall_us

    def elapsed_us(self) -> int:
        self.ticks += 1
        return self.ticks

    def new_id(self) -> str:
        return f"{self.elapsed_us():032x}"

    def seed(self) -> int:
        return self.elapsed_us() * 7919


class OpenVault(dict):
    """A vault without seals."""

    fingerprint = staticmethod(lambda material: f"print-{material}")
    seal, unseal, key_ids = dict.__setitem__, dict.__getitem__, dict.keys

    def destroy(self, key_id: str) -> None:
        self.pop(key_id, None)


class ToldProvider:
    """Answers, waits or fails as it is told."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.open = asyncio.Event()
        self.open.set()
        self.calls = 0

    def describe(self) -> ProviderDescription:
        return ProviderDescription(kind="told")

    async def execute(self, call) -> UpstreamAnswer:
        self.calls += 1
        await self.open.wait()
        if self.failures:
            raise AttemptFailedError(self.failures.pop())
        return UpstreamAnswer(body=b"{}", usage=Usage(3, 4))

    async def open_stream(self, call):
        raise NotImplementedError

    async def close(self) -> None:
        pass


class Line:
    """The whole line in memory, under a clock that is set by hand."""

    def __init__(self, log: MemoryLog | None = None, *, queue_timeout_us: int = 0) -> None:
        self.clock = SetClock()
        self.log = log or MemoryLog()
        self.journal = Journal(self.log, self.clock, "node")
        self.provider = ToldProvider()
        world = {"journal": self.journal, "providers": ProviderRegistry(), "vault": OpenVault()}
        world |= {"clock": self.clock, "entropy": self.clock}
        self.manage = Manage(**world)
        self.route = RouteRequest(
            **world,
            durability=Durability("strict"),
            max_attempts=3,
            timeout_us=10**9,
            queue_timeout_us=queue_timeout_us,
        )

    async def begin(self, *keys: dict) -> list[str]:
        await self.journal.open()
        await self.manage.register_provider("p", self.provider, actor="t")
        registered = [
            await self.manage.register_key(f"sk-{number}", "p", metadata, actor="t")
            for number, metadata in enumerate(keys)
        ]
        return [key.key_id for key in registered]

    async def ask(self) -> None:
        facts = RequestFacts(operation="chat", model="m", input_tokens_bound=5, output_tokens_bound=5)
        await self.route.execute(Order(facts=facts, policy=policy_of(None), body=b"{}"))

    def asking(self) -> asyncio.Task:
        return asyncio.create_task(self.ask())

    def events(self, *event_types) -> list:
        return [r.event for r in self.log.read() if isinstance(r.event, event_types)]

    def assert_decides_again(self) -> int:
        """Make every decision again from the log alone; return how many there were."""
        verified = verify(self.log.read())
        assert verified.identical, verified.differences
        return verified.decisions


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize("step_us", STEPS_US)
async def test_a_step_back_is_flagged_once_and_decisions_come_out_again(step_us):
    """One flag before the first event that bears an earlier time, with its size; then business as usual."""
    line = Line()
    await line.begin({"rpm": 100}, {"rpm": 100})
    await line.ask()
    line.clock.wall_us -= step_us
    for _ in range(3):
        await line.ask()
        line.clock.wall_us += 100
    (flag,) = line.events(ClockSteppedBack)
    assert (flag.at_us, flag.by_us, flag.node_id) == (START_US, step_us, "node")
    events = [r.event for r in line.log.read()]
    after = events[events.index(flag) + 1]
    assert isinstance(after, RouteDecided)
    assert after.at_us == START_US - step_us
    assert line.assert_decides_again() == 4


async def test_every_further_step_back_is_flagged_for_itself():
    """Also while the clock is behind from an earlier one; catching up is no event."""
    line = Line()
    await line.begin({})
    for step_us in (*STEPS_US, *STEPS_US):
        await line.ask()
        line.clock.wall_us -= step_us
        await line.ask()
        line.clock.wall_us += step_us // 2
    line.clock.wall_us = START_US + DAY_US
    await line.ask()
    assert [flag.by_us for flag in line.events(ClockSteppedBack)] == [*STEPS_US, *STEPS_US]
    assert {flag.at_us for flag in line.events(ClockSteppedBack)} == {START_US}
    line.assert_decides_again()


@pytest.mark.parametrize("step_us", STEPS_US)
async def test_a_manager_s_act_after_a_step_back_is_flagged_too(step_us):
    """Whatever is recorded, not only requests."""
    line = Line()
    key_id, _ = await line.begin({}, {})
    line.clock.wall_us -= step_us
    await line.manage.disable_key(key_id, actor="t")
    assert [type(r.event) for r in line.log.read()][-2:] == [ClockSteppedBack, KeyStateChanged]
    await line.ask()
    line.assert_decides_again()


@pytest.mark.parametrize("step_us", STEPS_US)
async def test_a_step_back_while_requests_wait_loses_none_of_them(step_us):
    """They are served when the key is free again, and their decisions come out again."""
    line = Line(queue_timeout_us=5 * SECOND_US)
    await line.begin({"max_concurrency": 1})
    line.provider.open.clear()
    tasks = [line.asking() for _ in range(3)]
    await until(lambda: line.provider.calls == 1)
    line.clock.wall_us += 70
    tasks.append(line.asking())
    await until(lambda: len(line.events(RouteDeferred)) == 3)
    line.clock.wall_us -= step_us
    line.provider.open.set()
    await asyncio.gather(*tasks)
    assert len(line.events(RequestCompleted)) == 4
    assert len(line.events(ClockSteppedBack)) == 1
    assert line.assert_decides_again() == 4


@pytest.mark.parametrize("step_us", STEPS_US)
async def test_decisions_that_were_not_recorded_leave_no_trace_that_a_replay_would_miss(step_us):
    """Who waits is tried and refused in silence, later than anything recorded; the flag tells that time."""
    line = Line(queue_timeout_us=5 * SECOND_US)
    await line.begin({"rpm": 2, "max_concurrency": 1})
    await line.ask()
    line.provider.open.clear()
    held, waiting = line.asking(), line.asking()
    await until(lambda: len(line.events(RouteDeferred)) == 1)
    recorded_us = line.clock.wall_us
    line.clock.wall_us += 2 * step_us + 59 * SECOND_US
    line.route._waiting.something_happened()
    await until(lambda: line.journal.state.latest_us == line.clock.wall_us)
    line.clock.wall_us -= step_us
    line.provider.open.set()
    await held
    (flag,) = line.events(ClockSteppedBack)
    assert flag.at_us == recorded_us + 2 * step_us + 59 * SECOND_US
    line.clock.wall_us += step_us + 61 * SECOND_US
    line.route._waiting.something_happened()
    await waiting
    line.assert_decides_again()


@pytest.mark.parametrize("step_us", STEPS_US)
async def test_a_step_back_never_shortens_a_rest(step_us):
    """A key that must not be called before an instant is not called before it, as the clock then goes."""
    line = Line()
    (key_id,) = await line.begin({})
    throttled = Failure(failure_class=FailureClass.RateLimited, retry_after_us=5 * SECOND_US)
    line.provider.failures = [throttled]
    with pytest.raises(RouterError):
        await line.ask()
    line.clock.wall_us -= step_us
    for wall_us in (line.clock.wall_us, START_US + 5 * SECOND_US - 1):
        line.clock.wall_us = wall_us
        with pytest.raises(RouterError):
            await line.ask()
    assert line.provider.calls == 1
    line.clock.wall_us += 1
    await line.ask()
    assert line.journal.state.keys[key_id].state is KeyState.Available
    line.assert_decides_again()


async def test_a_rest_that_begins_behind_is_as_long_as_was_asked_for():
    """A day back, a key that must rest five seconds rests five seconds, not a day."""
    line = Line()
    (key_id,) = await line.begin({})
    await line.ask()
    line.clock.wall_us -= DAY_US
    line.provider.failures = [Failure(failure_class=FailureClass.RateLimited, retry_after_us=5 * SECOND_US)]
    with pytest.raises(RouterError):
        await line.ask()
    line.clock.wall_us += 5 * SECOND_US - 1
    with pytest.raises(RouterError):
        await line.ask()
    line.clock.wall_us += 1
    await line.ask()
    assert not line.journal.state.keys[key_id].on_trial
    line.assert_decides_again()


@pytest.mark.parametrize("step_us", STEPS_US)
async def test_a_node_starts_with_a_clock_behind_its_log(step_us):
    """A restart after the clock was set back is flagged, and serves."""
    before = Line()
    await before.begin({})
    await before.ask()
    await stop_node(before.journal, before.clock, "node")
    line = Line(before.log)
    line.clock.wall_us, line.clock.ticks = START_US - step_us, 10**6
    await line.journal.open()
    await start_node(line.journal, line.clock, "node", "1")
    assert [type(r.event) for r in line.log.read()][-2:] == [ClockSteppedBack, NodeStarted]
    line.manage._vault.update(dict.fromkeys(line.journal.state.keys, "sk-0"))
    await line.manage.register_provider("p", line.provider, actor="t")
    await line.ask()
    assert line.assert_decides_again() == 2


moments = st.tuples(st.integers(-DAY_US, DAY_US), st.sampled_from([-1, 0, 1, SECOND_US, -SECOND_US]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["ask", "fail", "hold", "let_go"]), moments), max_size=25))
def test_whatever_the_clock_does_decisions_come_out_again(history):
    """Requests wait, fail and are served while the clock is set to and fro."""
    asyncio.run(_live_through(history))


async def _live_through(history) -> None:
    line = Line(queue_timeout_us=SECOND_US)
    await line.begin({"rpm": 4, "max_concurrency": 1}, {"max_concurrency": 2}, {"tpm": 40})
    tasks = []
    for what, (jump_us, step_us) in history:
        line.clock.wall_us += jump_us if what == "let_go" else step_us
        if what == "hold":
            line.provider.open.clear()
        elif what == "let_go":
            line.provider.open.set()
        else:
            failed = Failure(failure_class=FailureClass.RateLimited, retry_after_us=SECOND_US)
            line.provider.failures = [failed] if what == "fail" else []
            tasks.append(line.asking())
        for _ in range(3):
            await asyncio.sleep(0)
    line.provider.open.set()
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, RouterError):
            await task
    assert not line.journal.state.open_requests
    line.assert_decides_again()
    _assert_flagged(line)


def _assert_flagged(line: Line) -> None:
    """An event with an earlier time than the one before it stands behind a flag."""
    before_us, flagged = 0, False
    for recorded in line.log.read():
        if isinstance(recorded.event, ClockSteppedBack):
            flagged = True
            continue
        assert flagged or recorded.event.at_us >= before_us
        before_us, flagged = recorded.event.at_us, False
