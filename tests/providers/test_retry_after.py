"""How long a provider wants to be left alone, in all the ways that providers say it."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.adapters.providers.retry_after import duration_us, retry_after_us, until_us
from apikeyrouter.domain.failures import LONGEST_WAIT_US

NOW_S = 1_800_000_000.0
SECOND = 1_000_000
TEXTS = st.one_of(
    st.text(max_size=80),
    st.from_regex(r"-?[0-9]{1,30}(\.[0-9]{1,20})?(ms|s|m|h|e[0-9]{3})?", fullmatch=True),
    st.floats().map(str),
    st.integers(-(10**15), 10**15).map(lambda s: formatdate(s % 10**11, usegmt=True)),
)


def waited(text, name="retry-after"):
    return retry_after_us({name: text}, lambda: NOW_S)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7 * SECOND),
        (" 7 ", 7 * SECOND),
        ("0", 0),
        ("1.5", 1_500_000),
        (formatdate(NOW_S + 90, usegmt=True), 90 * SECOND),
        ("Fri, 15-Jan-27 08:01:30 GMT", 90 * SECOND),
        (formatdate(NOW_S - 90, usegmt=True), 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("1000000000", LONGEST_WAIT_US),
        ("999999999999999", LONGEST_WAIT_US),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT_US),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("1e400", None),
        ("nan", None),
        ("inf", None),
        ("\u0667", None),
        ("7" * 5000, None),
        ("7" + " " * 64, None),
        ("30s", 30 * SECOND),
        ("2027-01-15T08:01:30Z", 90 * SECOND),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, expected):
    """Seconds and dates are waits, the past is none, the far future is bounded, nonsense says nothing."""
    assert waited(text) == expected


def test_milliseconds_outrank_seconds():
    """The finer header is the newer one."""
    headers = {"retry-after-ms": "250", "retry-after": "9"}
    assert retry_after_us(headers, lambda: NOW_S) == 250_000
    assert retry_after_us(headers | {"retry-after-ms": "x"}, lambda: NOW_S) == 9 * SECOND
    assert retry_after_us({"x-ms-retry-after-ms": "300", "retry-after": "9"}, lambda: NOW_S) == 300_000


def test_silence_says_nothing():
    """Without a header there is no wait to read."""
    assert retry_after_us({}, lambda: NOW_S) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12ms", 12_000),
        ("6m0s", 360 * SECOND),
        ("1h2m3.5s", 3_723_500_000),
        ("8.64s", 8_640_000),
        ("1d", LONGEST_WAIT_US),
        ("90d", LONGEST_WAIT_US),
        ("59", 59 * SECOND),
        ("250µs", 250),
        ("s", None),
        ("1x", None),
        ("1..5s", None),
        ("5 s", None),
        ("5s" + " " * 64, None),
        (None, None),
    ],
)
def test_durations_are_read(text, expected):
    """Rate-limit resets are written as durations."""
    assert duration_us(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6m0s", 360 * SECOND),
        ("33011.382867", 33011_382_867),
        ("1800000090", 90 * SECOND),
        ("1800000090.5", 90_500_000),
        ("1800000090000", 90 * SECOND),
        ("1800000090000000", None),
        ("180000009000000", LONGEST_WAIT_US),
        ("1700000000", 0),
        ("999999999", LONGEST_WAIT_US),
        ("2027-01-15T08:01:30Z", 90 * SECOND),
        ("2027-01-15T10:01:30.25+02:00", 90_250_000),
        ("2027-01-15T08:01:30", 90 * SECOND),
        ("2020-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59Z", LONGEST_WAIT_US),
        (formatdate(NOW_S + 90, usegmt=True), 90 * SECOND),
        ("-5", None),
        ("", None),
        ("tomorrow", None),
        ("5" + " " * 64, None),
    ],
)
def test_a_reset_is_a_span_or_a_moment(text, expected):
    """Spans, seconds, epoch times in seconds or finer, RFC 3339 and HTTP dates all say when."""
    assert until_us(text, lambda: NOW_S) == expected


@given(TEXTS, st.floats(0, 1e11))
def test_any_text_gives_a_bounded_wait_or_none(text, now_s):
    """No header can crash the reader or make a key wait for ever."""
    for wait_us in (
        retry_after_us({"retry-after": text}, lambda: now_s),
        retry_after_us({"retry-after-ms": text}, lambda: now_s),
        duration_us(text),
        until_us(text, lambda: now_s),
    ):
        assert wait_us is None or (type(wait_us) is int and 0 <= wait_us <= LONGEST_WAIT_US)
