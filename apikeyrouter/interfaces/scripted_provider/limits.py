"""Rate limits and daily quota of one key, as pure arithmetic over given times."""

import math
from collections.abc import Sequence
from typing import NamedTuple

MINUTE_US = 60_000_000
DAY_US = 24 * 60 * MINUTE_US
WHOLE_PPM = 1_000_000

Headers = Sequence[tuple[bytes, bytes]]


class TokenBucket:
    """A bucket that holds one minute's worth and refills evenly; integers only, so nothing drifts.

    `fill` is the share of it that is there in the beginning.
    """

    def __init__(self, limit_per_minute: int, now_us: int, fill: float = 1.0) -> None:
        self.limit = limit_per_minute
        # In units of 1/MINUTE_US: one microsecond refills `limit` of them.
        self._capacity = limit_per_minute * MINUTE_US
        self._level = self._capacity * round(fill * WHOLE_PPM) // WHOLE_PPM
        self._at_us = now_us

    def _refill(self, now_us: int) -> None:
        elapsed_us = max(0, now_us - self._at_us)
        self._level = min(self._capacity, self._level + elapsed_us * self.limit)
        self._at_us = max(self._at_us, now_us)

    def wait_us(self, now_us: int, amount: int) -> int:
        """Return how long until `amount` is there; an amount above the limit waits for a full bucket."""
        self._refill(now_us)
        lacking = min(amount, self.limit) * MINUTE_US - self._level
        return max(0, -(-lacking // self.limit))

    def take(self, now_us: int, amount: int) -> None:
        """Take what `wait_us` said is there."""
        self._refill(now_us)
        self._level -= amount * MINUTE_US

    def headers(self, now_us: int, kind: bytes) -> Headers:
        """Tell limit, what remains and when the bucket is full again, in OpenAI's header names."""
        wait_us = self.wait_us(now_us, self.limit)
        return [
            (b"x-ratelimit-limit-" + kind, b"%d" % self.limit),
            (b"x-ratelimit-remaining-" + kind, b"%d" % (self._level // MINUTE_US)),
            (b"x-ratelimit-reset-" + kind, duration_text(wait_us).encode()),
        ]


class Overrun(NamedTuple):
    """Why a call is refused: the dimension, its limit, and the wait in which it may be tried again."""

    dimension: str
    limit: int
    wait_us: int | None


class KeyLimits:
    """The limits of one key together: a call passes all of them or takes from none."""

    def __init__(
        self,
        rpm: int | None,
        tpm: int | None,
        requests_per_day: int | None,
        now_us: int,
        *,
        fill: float = 1.0,
    ) -> None:
        self._requests = None if rpm is None else TokenBucket(rpm, now_us, fill)
        self._tokens = None if tpm is None else TokenBucket(tpm, now_us, fill)
        self._requests_per_day = requests_per_day
        self._day = now_us // DAY_US
        self._used_today = 0

    def admit(self, now_us: int, tokens: int) -> Overrun | None:
        """Take one request and its tokens, or tell what is overrun."""
        overrun = self._overrun(now_us, tokens)
        if overrun is None:
            self._take(now_us, tokens)
        return overrun

    def _overrun(self, now_us: int, tokens: int) -> Overrun | None:
        if self._requests_per_day is not None and self._today(now_us) >= self._requests_per_day:
            return Overrun("day", self._requests_per_day, None)
        if self._requests is not None and (wait_us := self._requests.wait_us(now_us, 1)):
            return Overrun("requests", self._requests.limit, wait_us)
        if self._tokens is None:
            return None
        if tokens > self._tokens.limit:
            return Overrun("tokens", self._tokens.limit, None)
        wait_us = self._tokens.wait_us(now_us, tokens)
        return Overrun("tokens", self._tokens.limit, wait_us) if wait_us else None

    def _take(self, now_us: int, tokens: int) -> None:
        self._used_today = self._today(now_us) + 1
        if self._requests is not None:
            self._requests.take(now_us, 1)
        if self._tokens is not None:
            self._tokens.take(now_us, tokens)

    def _today(self, now_us: int) -> int:
        day = now_us // DAY_US
        if day != self._day:
            self._day, self._used_today = day, 0
        return self._used_today

    def headers(self, now_us: int) -> Headers:
        """Tell the state of both buckets, as far as they exist."""
        headers: list[tuple[bytes, bytes]] = []
        if self._requests is not None:
            headers += self._requests.headers(now_us, b"requests")
        if self._tokens is not None:
            headers += self._tokens.headers(now_us, b"tokens")
        return headers


def duration_text(duration_us: int) -> str:
    """Write a duration as OpenAI's reset headers do: `0s`, `12ms`, `1.5s`, `6m0s`, `1h0m0s`; rounded up."""
    milliseconds = -(-duration_us // 1000)
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest_ms = divmod(milliseconds, 60_000)
    seconds = f"{rest_ms / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def retry_headers(wait_us: int | None) -> Headers:
    """Say when to come again: whole seconds for everybody, milliseconds for those who read them."""
    if wait_us is None:
        return []
    seconds, milliseconds = math.ceil(wait_us / 1_000_000), math.ceil(wait_us / 1000)
    return [(b"retry-after", b"%d" % seconds), (b"retry-after-ms", b"%d" % milliseconds)]
