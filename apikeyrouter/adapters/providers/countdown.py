"""A deadline that moves with every packet, without a timer for every move."""

import asyncio
from collections.abc import Callable
from math import inf


class Countdown:
    """Call back once the deadline has passed.

    The deadline, in the loop's time, is asked for when the timer rings, so nobody need tell that it has moved
    to later. Where it may have moved to sooner, `set` is due.
    """

    __slots__ = ("_deadline", "_expired", "_loop", "_rings_at_s", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, deadline: Callable[[], float], expired: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._deadline = deadline
        self._expired = expired
        self._rings_at_s = inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self) -> None:
        """Ring no later than at the deadline."""
        at_s = self._deadline()
        if at_s < self._rings_at_s:
            self._arm(at_s)

    def stop(self) -> None:
        """Ring no more, until the next `set`."""
        self._rings_at_s = inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at_s = at_s
        self._timer = self._loop.call_at(at_s, self._ring)

    def _ring(self) -> None:
        at_s = self._deadline()
        if self._loop.time() < at_s:
            self._arm(at_s)
            return
        self.stop()
        self._expired()
