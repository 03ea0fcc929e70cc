"""Limits are exact: never more than the bucket holds, never a refusal of what is there."""

import re
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apikeyrouter.errors import ConfigurationError
from apikeyrouter.interfaces.scripted_provider.behaviour import KeyScript, key_script_from
from apikeyrouter.interfaces.scripted_provider.keyring import ScriptedKey
from apikeyrouter.interfaces.scripted_provider.limits import (
    DAY_US,
    MINUTE_US,
    KeyLimits,
    TokenBucket,
    duration_text,
    retry_headers,
)

STEPS = st.lists(st.tuples(st.integers(-3 * MINUTE_US, 3 * MINUTE_US), st.integers(1, 40)), max_size=60)


class TestTheBucket:
    @given(limit=st.integers(1, 30), steps=STEPS)
    @example(limit=1, steps=[(0, 1), (-MINUTE_US, 1), (MINUTE_US, 1)])
    def test_never_gives_more_than_it_held_and_refilled(self, limit, steps):
        """What was taken up to any moment is at most the bucket and what flowed in."""
        bucket, now_us, latest_us, taken = TokenBucket(limit, 0), 0, 0, 0
        for wait_us, amount in steps:
            now_us += wait_us
            latest_us = max(latest_us, now_us)
            if amount <= limit and not bucket.wait_us(now_us, amount):
                bucket.take(now_us, amount)
                taken += amount
            assert taken <= limit + Fraction(latest_us * limit, MINUTE_US)

    @given(limit=st.integers(1, 1000), amount=st.integers(1, 1000))
    def test_what_it_says_to_wait_is_enough_and_not_more(self, limit, amount):
        """After the wait there is room, one microsecond before there is not."""
        bucket = TokenBucket(limit, 0)
        bucket.take(0, limit)
        wait_us = bucket.wait_us(0, amount)
        assert TokenBucket.wait_us(bucket, wait_us - 1, amount) > 0
        assert TokenBucket.wait_us(bucket, wait_us, amount) == 0

    @given(limit=st.integers(1, 10**9), fill=st.floats(0, 1))
    def test_begins_as_full_as_it_is_told(self, limit, fill):
        """What is there in the beginning is the share that was told, whatever the size."""
        bucket = TokenBucket(limit, 0, fill)
        waited_share = Fraction(bucket.wait_us(0, limit), MINUTE_US)
        assert abs(waited_share - (1 - Fraction(fill))) <= Fraction(1, 10**6)

    def test_a_full_bucket_of_any_size_is_exactly_full(self):
        """The largest bucket gives its last token and not one more."""
        bucket = TokenBucket(10**9 + 7, 0)
        assert bucket.wait_us(0, 10**9 + 7) == 0
        bucket.take(0, 10**9 + 7)
        assert bucket.wait_us(0, 1) > 0


class TestTheKeyLimits:
    @pytest.mark.parametrize(("rpm", "tpm", "dimension"), [(10, None, "requests"), (None, 10, "tokens")])
    def test_both_buckets_begin_as_full_as_told(self, rpm, tpm, dimension):
        """A key whose buckets begin half empty refuses after half a minute's worth."""
        limits = KeyLimits(rpm, tpm, None, 0, fill=0.5)
        seen = [limits.admit(0, 1) for _ in range(6)]
        assert seen[:5] == [None] * 5
        assert seen[5].dimension == dimension

    def test_one_refusal_takes_from_no_bucket(self):
        """A call that its tokens forbid leaves the request in its bucket."""
        limits = KeyLimits(1, 100, None, 0)
        assert limits.admit(0, 101).dimension == "tokens"
        assert limits.admit(0, 100) is None
        assert limits.admit(0, 0).dimension == "requests"

    def test_a_request_above_the_limit_never_waits(self):
        """What can never pass is refused without a time to come again."""
        assert KeyLimits(None, 100, None, 0).admit(0, 101).wait_us is None

    def test_the_day_begins_at_midnight(self):
        """The daily quota is used up for the day, and whole again the next."""
        limits = KeyLimits(None, None, 2, 5)
        assert [limits.admit(DAY_US - 1, 1) is None for _ in range(3)] == [True, True, False]
        assert limits.admit(DAY_US, 1) is None

    def test_the_headers_tell_limit_rest_and_reset(self):
        """The headers say what the buckets hold."""
        limits = KeyLimits(60, 6000, None, 0)
        limits.admit(0, 1000)
        assert dict(limits.headers(0)) == {
            b"x-ratelimit-limit-requests": b"60",
            b"x-ratelimit-remaining-requests": b"59",
            b"x-ratelimit-reset-requests": b"1s",
            b"x-ratelimit-limit-tokens": b"6000",
            b"x-ratelimit-remaining-tokens": b"5000",
            b"x-ratelimit-reset-tokens": b"10s",
        }

    def test_no_limits_no_headers(self):
        """A key without limits tells none."""
        assert not KeyLimits(None, None, None, 0).headers(0)


class TestTheFillOfAScriptedKey:
    def test_its_buckets_begin_so(self):
        """A key that is told to begin empty refuses its first call, and serves when it has refilled."""
        limits = ScriptedKey("alpha", KeyScript(key="sk-a", rpm=60, fill=0), 0, 0).limits
        assert limits.admit(0, 1).wait_us == 1_000_000
        assert limits.admit(1_000_000, 1) is None

    def test_limits_told_later_begin_so_too(self):
        """A quota that is cut while the key works is no gift of a full bucket."""
        key = ScriptedKey("alpha", KeyScript(key="sk-a", rpm=60, fill=0.5), 0, 0)
        key.follow(KeyScript(key="sk-a", rpm=4, fill=0.5), 5)
        assert [key.limits.admit(5, 1) is None for _ in range(3)] == [True, True, False]

    @pytest.mark.parametrize("fill", [-0.1, 1.1])
    def test_no_bucket_is_fuller_than_full(self, fill):
        """A fill outside of 0 to 1 is refused by name."""
        with pytest.raises(ConfigurationError, match="fill"):
            key_script_from("alpha", {"key": "sk-a", "fill": fill})


def read_duration(text: str) -> int:
    """Read a duration as Go writes it, into microseconds."""
    factors = {"h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1000}
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text)
    assert "".join(number + unit for number, unit in parts) == text
    return int(sum(Fraction(number) * factors[unit] for number, unit in parts))


class TestTimesInHeaders:
    @given(st.integers(0, 2 * DAY_US))
    def test_a_duration_reads_back(self, duration_us):
        """The text of a duration means the duration, rounded up to a millisecond."""
        assert 0 <= read_duration(duration_text(duration_us)) - duration_us < 1000

    def test_known_durations(self):
        """Durations look as OpenAI writes them."""
        known = {
            0: "0s",
            1: "1ms",
            12_000: "12ms",
            1_500_000: "1.5s",
            360_000_000: "6m0s",
            3_600_000_000: "1h0m0s",
        }
        assert {duration_us: duration_text(duration_us) for duration_us in known} == known

    def test_retry_after_is_whole_seconds_rounded_up(self):
        """Coming again when told is never too early."""
        assert retry_headers(1_000_001) == [(b"retry-after", b"2"), (b"retry-after-ms", b"1001")]
        assert retry_headers(None) == []
