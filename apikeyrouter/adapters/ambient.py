"""The clock and the chance of this machine: the only place where time and randomness enter."""

import os
import struct
import time
from collections.abc import Iterator
from weakref import WeakSet

_WAITED_OUT_US = 1_000_000
_BATCH_BYTES = 4096
_WORD = struct.Struct("=Q")
_TAIL_BITS = 74  # what UUIDv7 leaves beside 48 bits of milliseconds, version and variant
_RAND_B_BITS = 62
_RAND_B = (1 << _RAND_B_BITS) - 1
_RAND_A = (1 << 12) - 1
_VERSION_7 = 7 << 76
_VARIANT = 2 << 62


class SystemClock:
    """The wall clock and the monotonic clock, in microseconds."""

    def __init__(self) -> None:
        self._latest_us = 0

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC. A small step back is waited out, a large one is passed on."""
        now_us = time.time_ns() // 1000
        if self._latest_us - _WAITED_OUT_US < now_us < self._latest_us:
            return self._latest_us
        self._latest_us = now_us
        return now_us

    def elapsed_us(self) -> int:
        """Microseconds of a clock that never jumps."""
        return time.monotonic_ns() // 1000


class SystemEntropy:
    """Time-ordered ids and seeds, from the system's randomness drawn in batches.

    Ids grow strictly within a process, also within a millisecond and when the wall clock steps back.
    """

    def __init__(self) -> None:
        self._words: Iterator[tuple[int]] = iter(())
        self._latest_ms = 0
        self._latest = 0
        _alive.add(self)

    def __repr__(self) -> str:
        return "SystemEntropy()"

    def new_id(self) -> str:
        """Return a fresh UUIDv7 as 32 hex digits."""
        now_ms = time.time_ns() // 1_000_000
        if now_ms > self._latest_ms:
            self._latest_ms = now_ms
            tail = (self._word() << 9) | (self._word() >> 55)  # 73 bits: one is left for growth
            latest = (now_ms << _TAIL_BITS) | tail
        else:
            latest = self._latest + 1 + (self._word() >> 32)
        self._latest = latest
        return f"{_laid_out(latest):032x}"

    def seed(self) -> int:
        """Return an integer in [0, 2**53)."""
        return self._word() >> 11

    def forget(self) -> None:
        """Drop what was drawn ahead, as a forked child must not repeat its parent's chance."""
        self._words = iter(())
        self._latest_ms = self._latest = 0

    def _word(self) -> int:
        for word in self._words:
            return word[0]
        self._words = _WORD.iter_unpack(os.urandom(_BATCH_BYTES))
        return next(self._words)[0]


def _laid_out(latest: int) -> int:
    """Put version and variant where UUIDv7 has them."""
    return (
        ((latest >> _TAIL_BITS) << 80)
        | _VERSION_7
        | (((latest >> _RAND_B_BITS) & _RAND_A) << 64)
        | _VARIANT
        | (latest & _RAND_B)
    )


_alive: WeakSet[SystemEntropy] = WeakSet()


def _forget_all() -> None:
    for entropy in _alive:
        entropy.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
