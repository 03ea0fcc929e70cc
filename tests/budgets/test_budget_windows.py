"""When the windows of budgets begin and end: weeks, custom lengths, for ever; also as clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apikeyrouter.domain.windows import FOR_EVER, Window, bounds

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "America/Havana",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)
SECONDS = (1, 7, 60, 90, 1800, 2400, 3600, 5400, 7200, 86_400, 100_000, 604_800, 10_000_000, 31_622_400)

instants_us = st.integers(0, 4_000_000_000 * SECOND_US)
customs = st.builds(
    lambda zone, seconds: Window("fixed", "custom", zone, seconds),
    st.sampled_from(ZONES),
    st.sampled_from(SECONDS) | st.integers(1, 40_000_000),
)
weeks = st.builds(lambda zone: Window("fixed", "week", zone), st.sampled_from(ZONES))


def instant_us(zone: str, *when: int, fold: int = 0) -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * SECOND_US


def clock(zone: str, at_us: int) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).astimezone(ZoneInfo(zone))


def changes_us(zone: str, at_us: int) -> list[int]:
    """Return instants close to the next change of a zone's clocks."""
    offset = clock(zone, at_us).utcoffset()
    for day in range(400):
        if clock(zone, at_us + day * DAY_US).utcoffset() != offset:
            start_us = at_us + (day - 1) * DAY_US
            return [start_us + hour * 1800 * SECOND_US for hour in range(-4, 54)]
    return []


@given(customs | weeks, instants_us)
@example(Window("fixed", "custom", "Europe/Berlin", 31_622_400), instant_us("Europe/Berlin", 2026, 7, 1))
@example(Window("fixed", "custom", "Europe/Berlin", 604_800), instant_us("Europe/Berlin", 2026, 3, 29, 12))
def test_windows_tile_time(window, at_us):
    """Every instant lies in one window, the same for all its instants, and the next begins at its end."""
    for near_us in (at_us, *changes_us(window.zone, at_us)):
        start_us, end_us = bounds(window, near_us)
        assert start_us <= near_us < end_us
        inside = (start_us, (start_us + end_us) // 2, end_us - 1)
        assert {bounds(window, each) for each in inside} == {(start_us, end_us)}
        assert bounds(window, end_us)[0] == end_us


@given(
    st.sampled_from(("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")),
    st.sampled_from((5400, 86_400, 604_800, 31_622_400)),
    instants_us,
)
def test_a_long_custom_window_is_never_cut_in_two(zone, seconds, at_us):
    """A change of the clocks makes it an hour longer or shorter, and does not begin the money anew."""
    for near_us in (at_us, *changes_us(zone, at_us)):
        start_us, end_us = bounds(Window("fixed", "custom", zone, seconds), near_us)
        assert abs(end_us - start_us - seconds * SECOND_US) <= 3600 * SECOND_US


@pytest.mark.parametrize(
    ("seconds", "at", "begins", "ends"),
    [
        (86_400, (2026, 3, 29, 12), (2026, 3, 29), (2026, 3, 30)),
        (86_400, (2026, 10, 25, 12), (2026, 10, 25), (2026, 10, 26)),
        (604_800, (2026, 3, 29, 12), (2026, 3, 26), (2026, 4, 2)),
        (7_200, (2026, 3, 29, 3, 30), (2026, 3, 29, 3), (2026, 3, 29, 4)),
    ],
)
def test_custom_windows_follow_the_clocks_on_the_wall(seconds, at, begins, ends):
    """Days of 23 and 25 hours, weeks from Thursday on, as 1970 began."""
    zone = "Europe/Berlin"
    found = bounds(Window("fixed", "custom", zone, seconds), instant_us(zone, *at))
    assert found == (instant_us(zone, *begins), instant_us(zone, *ends))


def test_an_hour_that_is_struck_twice_does_not_give_its_money_twice():
    """The window that the clock is put back into goes on, or the next one that had begun already does."""
    zone, window = "Europe/Berlin", Window("fixed", "custom", "Europe/Berlin", 5400)
    first = bounds(window, instant_us(zone, 2026, 10, 25, 2, 45))
    second = bounds(window, instant_us(zone, 2026, 10, 25, 2, 45, fold=1))
    assert first == second == (first[0], instant_us(zone, 2026, 10, 25, 3))


@given(st.sampled_from(ZONES), instants_us)
def test_weeks_begin_on_monday(zone, at_us):
    """With the first instant of that day, whatever hour the clock shows then."""
    start_us, end_us = bounds(Window("fixed", "week", zone), at_us)
    assert clock(zone, start_us).weekday() == 0
    assert clock(zone, start_us - 1).weekday() != 0
    assert bounds(Window("fixed", "day", zone), start_us)[0] == start_us
    assert 5 * DAY_US < end_us - start_us < 8 * DAY_US


@given(instants_us)
def test_the_total_never_ends(at_us):
    """Whatever the instant, it is the one window."""
    assert bounds(Window("fixed", "total"), at_us) == FOR_EVER


@given(st.integers(1, 40_000_000))
def test_a_custom_window_is_as_long_as_it_says(seconds):
    """Rolling ones to the second."""
    assert Window("rolling", "custom", "UTC", seconds).length_us == seconds * SECOND_US
