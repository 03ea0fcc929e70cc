"""A limit that comes back evenly: against exact fractions, and against a provider that counts so."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive_accounts import MINUTE_US, SECOND_US, limit_on, rolling

from apikeyrouter.domain.accounts import Accounts
from apikeyrouter.domain.quota_learning import gives_back_evenly
from apikeyrouter.domain.rate_limits import RateLimitReport
from apikeyrouter.domain.windows import Window
from apikeyrouter.interfaces.scripted_provider.limits import TokenBucket

START_US = 1_760_000_000_000_000
BUCKET = Window("bucket", "minute")
NEARLY = Fraction(1, 100_000)
waits_us = st.one_of(st.integers(0, 2 * SECOND_US), st.integers(0, 3 * MINUTE_US))
limits = st.sampled_from((1, 3, 7, 60, 100, 30_000, 2_000_000))


def bucket_of(amount: int) -> Accounts:
    accounts = Accounts()
    accounts.advance(START_US)
    accounts.open(limit_on(BUCKET, amount))
    return accounts


def fits(accounts: Accounts, ask: int) -> bool:
    return bool(accounts.fits(np.array([0]), ask)[0])


@given(limits, st.lists(st.tuples(waits_us, st.floats(0, 1), st.floats(0, 1.2), st.booleans()), max_size=30))
def test_it_is_exact(limit, acts):
    """Reserving what fits, settling and releasing agree with exact arithmetic; no more is out than fits."""
    accounts, now_us, missing, held = bucket_of(limit), START_US, Fraction(0), []
    for wait_us, share, spent, ends in acts:
        now_us += wait_us
        accounts.advance(now_us)
        missing = max(missing - Fraction(limit * wait_us, MINUTE_US), Fraction(0))
        if ends and held:
            holding, amount = held.pop()
            actual = int(amount * spent)
            accounts.settle(holding, [actual])
            missing = max(missing + actual - amount, Fraction(0))
        else:
            ask = max(int(limit * share), 1)
            assert fits(accounts, ask) or missing + ask > limit - NEARLY
            if fits(accounts, ask):
                held.append((accounts.reserve([0], [ask], now_us), ask))
                missing += ask
                assert missing <= limit + NEARLY
        used = accounts.used_now(0)
        assert missing - NEARLY <= used < missing + 1 + NEARLY
        report = accounts.report(0, now_us)
        assert report.settled + report.reserved == used
        assert report.reserved == min(sum(amount for _, amount in held), used)


@given(limits, st.lists(st.tuples(waits_us, st.floats(0, 1)), min_size=1, max_size=40), st.integers(0, 999))
def test_what_is_sent_is_never_refused_by_a_provider_that_counts_so(limit, asks, on_its_way_us):
    """However the requests come, and however long they are on their way, the provider's bucket has enough."""
    accounts, now_us, provider = bucket_of(limit), START_US, TokenBucket(limit, START_US)
    for wait_us, share in asks:
        now_us += wait_us
        accounts.advance(now_us)
        ask = max(int(limit * share), 1)
        if fits(accounts, ask):
            accounts.settle(accounts.reserve([0], [ask], now_us), [ask])
            assert provider.wait_us(now_us + on_its_way_us, ask) <= 1
            provider.take(now_us + on_its_way_us, ask)


@given(limits, st.floats(0, 1), st.floats(0, 1))
def test_when_it_fits_is_the_first_instant(limit, used_share, ask_share):
    """At the instant that is told it fits, and just before it did not."""
    accounts = bucket_of(limit)
    used, ask = int(limit * used_share), max(int(limit * ask_share), 1)
    accounts.reserve([0], [used], START_US)
    fits_at_us = accounts.fits_at(0, ask, START_US)
    assert fits_at_us is not None
    before_us = fits_at_us - 2 - MINUTE_US // (limit * 100_000)  # less than what rounding may hide
    if before_us > START_US:
        accounts.advance(before_us)
        assert not fits(accounts, ask)
    accounts.advance(fits_at_us)
    assert fits(accounts, ask)


def test_what_never_fits_is_told_so():
    """More than a bucket holds is never there."""
    assert bucket_of(10).fits_at(0, 11, START_US) is None


class TestWhatTheProviderSays:
    def test_less_than_was_believed_counts(self):
        """Somebody else drew on the bucket."""
        accounts = bucket_of(100)
        accounts.correct(0, 25, START_US)
        assert accounts.used_now(0) == 75
        accounts.advance(START_US + MINUTE_US // 2)
        assert accounts.used_now(0) == 25

    def test_more_than_was_believed_counts_save_what_is_under_way(self):
        """What is held may not have reached the provider when it counted."""
        accounts = bucket_of(100)
        accounts.settle(accounts.reserve([0], [80], START_US), [80])
        accounts.reserve([0], [10], START_US)
        accounts.correct(0, 60, START_US)
        assert accounts.used_now(0) == 50

    def test_within_what_is_under_way_nothing_is_known_better(self):
        """The provider's count and ours differ by what is held: both may be right."""
        accounts = bucket_of(100)
        accounts.reserve([0], [10], START_US)
        accounts.correct(0, 95, START_US)
        assert accounts.used_now(0) == 10

    def test_a_window_that_turns_out_to_be_a_bucket_keeps_what_was_used(self):
        """The account goes on from where it stood, and what is held then settles no more."""
        accounts = Accounts()
        accounts.advance(START_US)
        row = accounts.open(limit_on(rolling("minute"), 100))
        holding = accounts.reserve([row], [40], START_US)
        accounts.open(limit_on(BUCKET, 100), "learned_from_headers")
        assert accounts.used_now(row) == 40
        accounts.settle(holding, [0])
        assert accounts.used_now(row) == 40
        accounts.advance(START_US + MINUTE_US // 10)
        assert accounts.used_now(row) == 30

    def test_a_changed_limit_changes_the_pace(self):
        """Half the limit comes back at half the speed."""
        accounts = bucket_of(100)
        accounts.reserve([0], [60], START_US)
        accounts.set_limit(0, 50, "learned_from_headers")
        accounts.advance(START_US + MINUTE_US // 10)
        assert accounts.used_now(0) == 55


class TestHowAWindowRuns:
    @given(limits.filter(lambda limit: limit >= 60), st.floats(0.05, 1))
    def test_a_bucket_shows_in_its_resets(self, limit, missing_share):
        """What the scripted provider's bucket says of itself is recognised."""
        bucket = TokenBucket(limit, START_US)
        bucket.take(START_US, max(int(limit * missing_share), 2))
        remaining = limit - max(int(limit * missing_share), 2)
        reset_us = bucket.wait_us(START_US, limit)
        report = RateLimitReport("requests", limit, remaining, reset_us)
        assert gives_back_evenly(report, MINUTE_US)

    @pytest.mark.parametrize(
        ("remaining", "reset_us"), [(90, 50 * SECOND_US), (10, 3 * SECOND_US), (50, MINUTE_US)]
    )
    def test_what_comes_back_at_once_shows_as_well(self, remaining, reset_us):
        """A reset that has nothing to do with what is missing is that of a window."""
        assert gives_back_evenly(RateLimitReport("requests", 100, remaining, reset_us), MINUTE_US) is False

    @pytest.mark.parametrize(
        ("limit", "remaining", "reset_us"),
        [
            (100, 99, 600_000),
            (100, 100, 0),
            (None, 50, 1),
            (100, None, 1),
            (100, 50, None),
            (100, 50, 38_000_000),
        ],
    )
    def test_some_reports_tell_nothing(self, limit, remaining, reset_us):
        """Too little missing, a number not told, or neither near nor far."""
        assert gives_back_evenly(RateLimitReport("requests", limit, remaining, reset_us), MINUTE_US) is None
