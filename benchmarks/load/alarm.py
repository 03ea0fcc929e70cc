"""An alarm clock finer than the event loop's, which rounds its timers up to a millisecond."""

import asyncio
import ctypes
import os
import struct

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class Alarm:
    """Wakes one waiter at an instant of `time.monotonic_ns`. Linux only."""

    def __init__(self) -> None:
        self._fd = _LIBC.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    async def until(self, due_ns: int) -> None:
        """Return at `due_ns`, or at once when that is past."""
        loop = asyncio.get_running_loop()
        rings: asyncio.Future[None] = loop.create_future()
        setting = struct.pack("@qqqq", 0, 0, *divmod(due_ns, 1_000_000_000))
        if _LIBC.timerfd_settime(self._fd, _ABSOLUTE, setting, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        loop.add_reader(self._fd, rings.set_result, None)
        try:
            await rings
        finally:
            loop.remove_reader(self._fd)
            os.read(self._fd, 8)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)
