"""The room in which requests wait, apart from everything else: who is served when, and who is forgotten."""

import asyncio
from collections import Counter

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from quota_givens import SECOND_US, asking

from apikeyrouter.application.passage import Passage
from apikeyrouter.application.waiting import WaitingRoom
from apikeyrouter.domain.events import RouteRefused


class SteppedLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes only when it is told."""

    now_s = 1000.0

    def time(self) -> float:
        return self.now_s


REFUSED = RouteRefused(
    at_us=1,
    rules=0,
    as_of=0,
    seed=0,
    attempt=1,
    facts=asking().facts,
    policy=asking().policy,
    reason="no_key_available",
)


def passage(name: str, client_id: str, model: str, *, tried: tuple[str, ...] = ()) -> Passage:
    stream = f"request-{name}"
    return Passage(
        request_id=name, stream=stream, order=asking(client_id, model=model), started_us=0, tried=tried
    )


class Room(RuleBasedStateMachine):
    """Arrivals, leavings, deadlines and capacity in any order, in a loop whose time stands still."""

    @initialize()
    def begin(self):
        self.loop = SteppedLoop()
        self.room = WaitingRoom(self.attempt, lambda: int(self.loop.now_s * SECOND_US))
        self.places: Counter[str] = Counter()
        self.tasks: dict[str, asyncio.Task] = {}
        self.queues: dict[tuple[str, str], list[str]] = {}
        self.deadlines: dict[str, float] = {}
        self.served: list[str] = []
        self.passed_by: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self.wrong: list[str] = []

    def attempt(self, waiter: Passage):
        """Give a place of the pool if there is one, and note whatever is given out of turn."""
        model, client_id, name = waiter.order.facts.model, waiter.order.facts.client_id, waiter.request_id
        if not self.places[model]:
            return REFUSED
        self.places[model] -= 1
        queue = self.queues[model, client_id]
        if not queue or queue[0] != name:
            self.wrong.append(f"{name} served before {queue[:1]}, or after it had gone")
        self.forget(name)
        self.served.append(name)
        self.count_turn((model, client_id))
        return name, self.loop.create_future()

    def count_turn(self, client):
        """Between two turns of a client, everybody else who waits in its pool has one."""
        for one, queue in self.queues.items():
            if queue and one[0] == client[0] and one != client:
                if client in self.passed_by[one]:
                    self.wrong.append(f"{client} had two turns, and {one} none")
                self.passed_by[one].add(client)
        self.passed_by[client] = set()

    def forget(self, name):
        for queue in self.queues.values():
            if name in queue:
                queue.remove(name)

    def waits(self) -> list[str]:
        return sorted(name for queue in self.queues.values() for name in queue)

    def step(self, *acts):
        self.loop.run_until_complete(self.settle(*acts))

    async def settle(self, *acts):
        for act in acts:
            act()
        for _ in range(8):
            await asyncio.sleep(0)

    @rule(client=st.sampled_from("xyz"), model=st.sampled_from("mn"), patience_s=st.integers(1, 50))
    def arrives(self, client, model, patience_s):
        """The room knows whether others wait, and takes in who comes."""
        name = f"{len(self.tasks)}"
        one = passage(name, client, model)
        others = any(queue for (pool, _), queue in self.queues.items() if pool == model)
        assert self.room.is_queued(one.order.facts) == others
        queue = self.queues.setdefault((model, client), [])
        if not queue:
            self.passed_by[model, client] = set()
        queue.append(name)
        self.deadlines[name] = self.loop.now_s + patience_s
        wait = self.room.turn(one, within_us=patience_s * SECOND_US, retry_at_us=None)
        self.tasks[name] = self.loop.create_task(wait)
        self.step()
        self.step(self.room.something_happened)

    @rule(data=st.data(), places=st.integers(0, 2), model=st.sampled_from("mn"))
    def leaves(self, data, places, model):
        """A client goes in the very moment in which places come free: it is given none of them."""
        if self.waits():
            name = data.draw(st.sampled_from(self.waits()))
            self.forget(name)
            self.places[model] += places
            self.step(self.tasks[name].cancel, self.room.something_happened)
            assert self.tasks[name].cancelled()

    @rule(model=st.sampled_from("mn"), count=st.integers(1, 3))
    def places_come_free(self, model, count):
        self.places[model] += count
        self.step(self.room.something_happened)

    @rule(passed_s=st.integers(1, 20))
    def time_passes(self, passed_s):
        """Whose time is over hears None, and waits no longer."""
        self.loop.now_s += passed_s
        over = [name for name in self.waits() if self.deadlines[name] <= self.loop.now_s]
        for name in over:
            self.forget(name)
        self.step()
        assert all(self.tasks[name].result() is None for name in over)

    @invariant()
    def nobody_waits_while_there_is_room_and_nobody_is_lost(self):
        if hasattr(self, "room"):
            assert not self.wrong
            assert self.room._count == len(self.waits())
            assert not any(self.tasks[name].done() for name in self.waits())
            assert not any(queue and self.places[model] for (model, _), queue in self.queues.items())
            assert len(set(self.served)) == len(self.served)
            assert all(self.tasks[name].result()[0] == name for name in self.served)

    def teardown(self):
        """When all have gone, the room has forgotten them."""
        if hasattr(self, "room"):
            self.time_passes(passed_s=100)
            assert all(task.done() for task in self.tasks.values())
            assert not self.room._lines
            assert self.room._count == 0
            self.loop.close()


TestRoom = Room.TestCase
TestRoom.settings = hypothesis_settings(max_examples=80, stateful_step_count=40, deadline=None)


class Places:
    """A room in a running loop, with places that all pools share."""

    def __init__(self) -> None:
        self.free = 0
        self.served: list[str] = []
        self.picky_may = True
        self.room = WaitingRoom(self.attempt, lambda: 0)

    def attempt(self, waiter: Passage):
        if not self.free or (waiter.tried and not self.picky_may):
            return REFUSED
        self.free -= 1
        self.served.append(waiter.request_id)
        return waiter.request_id, None

    async def wait(self, *passages: Passage) -> list[asyncio.Task]:
        turns = [self.room.turn(one, within_us=20 * SECOND_US, retry_at_us=None) for one in passages]
        tasks = [asyncio.create_task(turn) for turn in turns]
        await asyncio.sleep(0)
        return tasks

    async def give(self, count: int) -> None:
        for _ in range(count):
            self.free += 1
            self.room.something_happened()
            await asyncio.sleep(0)
            await asyncio.sleep(0)


async def test_pools_that_share_keys_take_turns():
    """Who asks for another model of the same keys need not wait until nobody wants the first any more."""
    places = Places()
    first = await places.wait(*(passage(f"m{number}", "x", "m") for number in range(4)))
    second = await places.wait(*(passage(f"n{number}", "y", "n") for number in range(2)))
    await places.give(4)
    assert places.served == ["m0", "n0", "m1", "n1"]
    await places.give(2)
    await asyncio.gather(*first, *second)
    assert places.served[4:] == ["m2", "m3"]


async def test_who_cannot_take_every_key_holds_up_nobody_who_can():
    """A request that has tried some keys waits for the others; whoever takes any is served meanwhile."""
    places = Places()
    places.picky_may = False
    (choosy,) = await places.wait(passage("choosy", "x", "m", tried=("k",)))
    easy = await places.wait(*(passage(f"easy{number}", "x", "m") for number in range(3)))
    await places.give(3)
    await asyncio.gather(*easy)
    assert not choosy.done()
    places.picky_may = True
    await places.give(1)
    assert (await choosy)[0] == "choosy"


async def test_who_leaves_from_the_middle_is_forgotten_at_once():
    """Bodies are large: those of clients that left are not kept until the head has had its turn."""
    places = Places()
    waits = await places.wait(*(passage(f"{number}", "x", "m") for number in range(3)))
    waits[1].cancel()
    await asyncio.wait([waits[1]])
    (line,) = places.room._lines.values()
    assert "1" not in str(
        [waiter.passage.request_id for q in line._clients.values() for waiter in q.values()]
    )
    await places.give(2)
    assert places.served == ["0", "2"]
    await asyncio.gather(waits[0], waits[2])


async def test_an_error_is_heard_by_the_one_whose_turn_it_was():
    """What goes wrong with one request does not stop the others."""
    places = Places()
    inner = places.attempt
    broken = WaitingRoom(lambda one: 1 / 0 if one.request_id == "0" else inner(one), lambda: 0)
    places.room = broken
    waits = await places.wait(passage("0", "x", "m"), passage("1", "x", "m"))
    await places.give(1)
    with pytest.raises(ZeroDivisionError):
        await waits[0]
    assert (await waits[1])[0] == "1"
