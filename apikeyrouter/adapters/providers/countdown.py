"""A deadline that moves with every packet, without a timer for every move."""

import asyncio
from collections.abc import Callable
from math import inf


class Countdown:
    """Call back once the deadline has passed.

    Moving the deadline later leaves the timer alone: it rings early, sees that, and is set again.
    """

    __slots__ = ("_at_s", "_expired", "_loop", "_rings_at_s", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._at_s = inf
        self._rings_at_s = inf
        self._timer: asyncio.TimerHandle | None = None

    def move(self, at_s: float) -> None:
        """Set the deadline, in the loop's time."""
        self._at_s = at_s
        if at_s < self._rings_at_s:
            self._arm(at_s)

    def stop(self) -> None:
        """Forget the deadline."""
        self._at_s = self._rings_at_s = inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at_s = at_s
        self._timer = self._loop.call_at(at_s, self._ring)

    def _ring(self) -> None:
        if self._loop.time() < self._at_s:
            self._arm(self._at_s)
            return
        self.stop()
        self._expired()
