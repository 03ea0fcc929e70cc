"""Requests that wait for capacity: in the order of their arrival, fair between clients, never for ever.

A queue belongs to a pool of keys; those who cannot take every key of it stand apart, where they hold up
nobody who can. Heads are tried in turns whenever something was recorded or their time has come; who arrives
while others wait stands behind them, so that nobody is overtaken by the lucky.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import NamedTuple

from apikeyrouter.application.passage import Passage
from apikeyrouter.domain.eligibility import is_constrained
from apikeyrouter.domain.events import RequestFacts, RouteDecided, RouteRefused
from apikeyrouter.domain.models.system_error import ShuttingDownError
from apikeyrouter.domain.windows import SECOND_US
from apikeyrouter.limits import MOST_WAITING

SOONEST_S = 0.001

Taken = tuple[RouteDecided, "asyncio.Future[None]"]
Try = Callable[[Passage], "Taken | RouteRefused | None"]
"""Decide for a passage: record and return a decision, or return a refusal that is not recorded.

None where waiting longer cannot help.
"""


class _Waiter(NamedTuple):
    passage: Passage
    turn: "asyncio.Future[Taken | None]"


class _Queue:
    """Who waits for one pool of keys: a queue a client, and the clients in the order of their turns."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, OrderedDict[int, _Waiter]] = OrderedDict()

    def join(self, waiter: _Waiter) -> None:
        """Stand at the end of one's client's queue."""
        queue = self._clients.setdefault(_client_of(waiter), OrderedDict())
        queue[id(waiter.turn)] = waiter

    def leave(self, waiter: _Waiter) -> None:
        """Go, from wherever one stands; harmless for who has gone."""
        client_id = _client_of(waiter)
        queue = self._clients.get(client_id)
        if queue is not None and queue.pop(id(waiter.turn), None) is not None and not queue:
            del self._clients[client_id]

    def head(self) -> _Waiter | None:
        """Return whose turn it is; those who gave up are dropped, though they have not woken to leave."""
        while self._clients:
            waiter = next(iter(next(iter(self._clients.values())).values()))
            if not waiter.turn.done():
                return waiter
            self.leave(waiter)
        return None

    def served(self, waiter: _Waiter) -> None:
        """Take the head out; its client stands at the end of the line now."""
        self._clients.move_to_end(_client_of(waiter))
        self.leave(waiter)


class WaitingRoom:
    """All the queues of a node, those whose turn is next first."""

    def __init__(self, attempt: Try, now_us: Callable[[], int]) -> None:
        self._attempt = attempt
        self._now_us = now_us
        self._lines: OrderedDict[tuple[object, bool], _Queue] = OrderedDict()
        self._count = 0
        self._pumping = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def full(self) -> bool:
        """True when nobody more may wait."""
        return self._count >= MOST_WAITING

    def is_queued(self, facts: RequestFacts) -> bool:
        """Tell whether others wait already for the keys that could serve this request."""
        pool = _pool_of(facts)
        lines = (self._lines.get((pool, picky)) for picky in (False, True))
        return any(line is not None and line.head() is not None for line in lines)

    async def turn(self, passage: Passage, *, within_us: int, retry_at_us: int | None) -> Taken | None:
        """Wait for this request's turn; None when its time is over, or waiting cannot help any more."""
        waiter = _Waiter(passage, asyncio.get_running_loop().create_future())
        name = _pool_of(passage.order.facts), _is_picky(passage)
        line = self._lines.setdefault(name, _Queue())
        line.join(waiter)
        self._count += 1
        self._wake_at(retry_at_us)
        try:
            async with asyncio.timeout(within_us / SECOND_US):
                return await waiter.turn
        except TimeoutError:
            return waiter.turn.result() if waiter.turn.done() and not waiter.turn.cancelled() else None
        finally:
            self._leave(name, line, waiter)

    def close(self) -> None:
        """Send everybody away."""
        for line in self._lines.values():
            while (waiter := line.head()) is not None:
                waiter.turn.set_exception(ShuttingDownError("the router is shutting down; try again"))
        if self._timer is not None:
            self._timer.cancel()

    def something_happened(self) -> None:
        """Try those who wait, at the end of the loop's turn: capacity may have come free."""
        if self._lines and not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _leave(self, name: tuple[object, bool], line: _Queue, waiter: _Waiter) -> None:
        waiter.turn.cancel()
        line.leave(waiter)
        self._count -= 1
        if line.head() is None and self._lines.get(name) is line:
            del self._lines[name]

    def _pump(self) -> None:
        """Give keys to the heads of the lines in turns, for as long as there are any."""
        self._pumping = False
        lines = deque(self._lines.items())
        while lines:
            name, line = lines.popleft()
            waiter = line.head()
            if waiter is None:
                self._lines.pop(name, None)
                continue
            refused = self._try(line, waiter)
            if refused is not None:
                self._wake_at(refused.retry_at_us)
                continue
            self._lines.move_to_end(name)
            lines.append((name, line))

    def _try(self, line: _Queue, waiter: _Waiter) -> RouteRefused | None:
        """Try to serve the head of a line; it goes on waiting if it is refused."""
        try:
            outcome = self._attempt(waiter.passage)
        except Exception as error:  # noqa: BLE001 - whatever it is, the one who waits must hear of it
            line.leave(waiter)
            waiter.turn.set_exception(error)
            return None
        if isinstance(outcome, RouteRefused):
            return outcome
        if outcome is None:
            line.leave(waiter)
        else:
            line.served(waiter)
        waiter.turn.set_result(outcome)
        return None

    def _wake_at(self, at_us: int | None) -> None:
        if at_us is None:
            return
        loop = asyncio.get_running_loop()
        at_s = loop.time() + max((at_us - self._now_us()) / SECOND_US, SOONEST_S)
        if self._timer is None or self._timer.when() > at_s or self._timer.when() <= loop.time():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(at_s, self._pump)


def _client_of(waiter: _Waiter) -> str:
    return waiter.passage.order.facts.client_id or ""


def _is_picky(passage: Passage) -> bool:
    return bool(passage.tried) or is_constrained(passage.order.policy)


def _pool_of(facts: RequestFacts) -> object:
    return facts.model, facts.provider_id, facts.needs
