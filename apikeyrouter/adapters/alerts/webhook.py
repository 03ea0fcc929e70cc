"""Alerts on their way to a receiver: in order, each at least once, never in the way of a request.

The log is the queue. What is waiting in memory is bounded; what came beyond, during an outage or in an
earlier process is read from the budgets' streams again, from the position on that was delivered last.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import NamedTuple

from apikeyrouter.adapters.alerts.bookmark import Bookmark
from apikeyrouter.adapters.alerts.message import alert_id, body_of
from apikeyrouter.adapters.alerts.posting import TIMEOUT_S, Outcome, Poster, posting_to
from apikeyrouter.application.notices import notices
from apikeyrouter.application.ports import EventReader
from apikeyrouter.domain.budgets import Budgets
from apikeyrouter.domain.events import BudgetAlerted, Recorded, budget_stream
from apikeyrouter.limits import MOST_QUEUED_ALERTS

GRACE_S = 2.0
"""What closing waits for alerts under way; the others are delivered by the next process."""


class Pace(NamedTuple):
    """How long a post may take, the pauses after failures, of which the last is repeated, and a bound."""

    timeout_s: float = TIMEOUT_S
    pauses_s: tuple[float, ...] = (1.0, 5.0, 30.0, 120.0, 600.0)
    most_queued: int = MOST_QUEUED_ALERTS


PACE = Pace()


class Webhook:
    """Follows the log, and posts its alerts to one address from a task of its own."""

    def __init__(
        self,
        address: str,
        *,
        reader: EventReader,
        budgets: Callable[[], Budgets],
        bookmark: Bookmark,
        pace: Pace = PACE,
    ) -> None:
        """Wire the webhook; `budgets` are those of the state as of now."""
        self._address = address
        self._reader = reader
        self._budgets = budgets
        self._bookmark = bookmark
        self._pace = pace
        self._queue: deque[Recorded] = deque()
        self._queued_until = bookmark.position
        self._behind = True  # there are alerts beyond the queue, or may be: they are read once it is empty
        self._followed = 0
        self._news, self._closing = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def follow(self, batch: Sequence[Recorded]) -> None:
        """Take in durable events: queue the alerts among them, and notice a gap that an outage left."""
        if self._followed and batch[0].position != self._followed + 1:
            self._behind = True
            self.start()
        self._followed = batch[-1].position
        for recorded in batch:
            if isinstance(recorded.event, BudgetAlerted):
                self._take(recorded)

    def start(self) -> None:
        """Let the task run, in the loop that runs now: an earlier one may have ended."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._news, self._closing = asyncio.Event(), asyncio.Event()
            self._task = loop.create_task(self._run())
        self._news.set()

    async def close(self) -> None:
        """Let what is under way arrive, and end."""
        task = self._task
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            return
        self._closing.set()
        self._news.set()
        await asyncio.wait([task], timeout=GRACE_S)
        task.cancel()
        await asyncio.wait([task])

    def _take(self, recorded: Recorded) -> None:
        if len(self._queue) >= self._pace.most_queued:
            self._behind = True
        if not self._behind and recorded.position > self._queued_until:
            self._queue.append(recorded)
            self._queued_until = recorded.position
        self.start()

    async def _run(self) -> None:
        self._behind = True
        try:
            async with posting_to(self._address, self._pace.timeout_s) as poster:
                while await self._has_next() and await self._deliver(poster, self._queue[0]):
                    delivered = self._queue.popleft()
                    await asyncio.to_thread(self._bookmark.move, delivered.position)
        except Exception as error:  # noqa: BLE001 - its words may hold the address; the next alert begins anew
            notices().error("budget_alerts_stopped", error=type(error).__name__)

    async def _has_next(self) -> bool:
        """Wait for an alert; False once the webhook closes and none is left."""
        while not self._queue:
            if self._behind:
                if not await self._catch_up():
                    return False
            elif self._closing.is_set():
                return False
            else:
                self._news.clear()
                await self._news.wait()
        return True

    async def _catch_up(self) -> bool:
        """Queue what the log has and nobody took; False if it cannot be read and the webhook closes."""
        budget_ids = list(self._budgets().by_id)
        self._behind = False  # from here on what is followed is queued as well
        try:
            stored = await asyncio.to_thread(self._stored, budget_ids)
        except Exception as error:  # noqa: BLE001 - the log can be read again later, whatever it is now
            notices().warning("budget_alerts_not_read", error=type(error).__name__)
            self._behind = True
            self._queue.clear()
            return not await self._pause(len(self._pace.pauses_s))
        by_position = {recorded.position: recorded for recorded in (*stored, *self._queue)}
        ordered = [by_position[position] for position in sorted(by_position)]
        self._behind = self._behind or len(ordered) > self._pace.most_queued
        self._queue = deque(ordered[: self._pace.most_queued])
        self._queued_until = self._queue[-1].position if self._queue else self._bookmark.position
        return True

    def _stored(self, budget_ids: list[str]) -> list[Recorded]:
        streams = (self._reader.stream(budget_stream(budget_id)) for budget_id in budget_ids)
        after = self._bookmark.position
        return [
            recorded
            for stream in streams
            for recorded in stream
            if recorded.position > after and isinstance(recorded.event, BudgetAlerted)
        ]

    async def _deliver(self, poster: Poster, recorded: Recorded) -> bool:
        """Post until the receiver takes or refuses an alert; False if the webhook closes first."""
        assert isinstance(recorded.event, BudgetAlerted)  # noqa: S101 - nothing else is queued
        body = body_of(recorded, recorded.event, self._budgets())
        for attempt in count(1):
            answer = await poster.post(body)
            told = {"alert_id": alert_id(recorded), "attempt": attempt, "reason": answer.reason}
            if answer.outcome is Outcome.Refused:
                notices().error("budget_alert_refused", **told)
            if answer.outcome is not Outcome.Failed:
                return True
            notices().warning("budget_alert_not_delivered", **told)
            if await self._pause(attempt):
                return False
        raise AssertionError  # it counts for ever

    async def _pause(self, failures: int) -> bool:
        """Wait after so many failures; True if the webhook closes meanwhile."""
        pauses_s = self._pace.pauses_s
        pause_s = pauses_s[min(failures, len(pauses_s)) - 1]
        try:
            await asyncio.wait_for(self._closing.wait(), pause_s)
        except TimeoutError:
            return False
        return True
