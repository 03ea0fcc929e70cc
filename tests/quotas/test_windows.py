"""Where windows begin and end, on days that have 24 hours and on others."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive_accounts import DAY_US, HOUR_US, MINUTE_US, SECOND_US, fixed, instant_us, rolling

from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.windows import Window, bounds, zone_named

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Los_Angeles",
    "America/Santiago",  # springs forward at midnight
    "America/Havana",  # strikes midnight twice
    "America/St_Johns",  # went back at one minute past midnight
    "Asia/Kathmandu",
    "Africa/Cairo",
    "Australia/Lord_Howe",  # moves by half an hour
    "Pacific/Apia",  # left out a day
    "Pacific/Kwajalein",
)
UNITS = ("second", "minute", "hour", "day", "month")

instants_us = st.integers(0, instant_us("UTC", 2100, 1, 1))
windows = st.builds(Window, st.just("fixed"), st.sampled_from(UNITS), st.sampled_from(ZONES))


def clock(zone: str, at_us: int) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).astimezone(ZoneInfo(zone))


@given(windows, instants_us)
def test_windows_tile_time(window, at_us):
    """Every instant lies in one window, the same for all its instants, and the next begins at its end."""
    start_us, end_us = bounds(window, at_us)
    assert start_us <= at_us < end_us
    assert bounds(window, start_us) == bounds(window, end_us - 1) == (start_us, end_us)
    assert bounds(window, end_us)[0] == end_us
    assert bounds(window, start_us - 1)[1] == start_us


@given(st.sampled_from(ZONES), instants_us, st.integers(-3 * HOUR_US, 3 * HOUR_US))
def test_windows_tile_the_hours_around_every_change_of_the_clock(zone, at_us, off_us):
    """The tiling holds where it is hard: near the first change of the offset after any instant."""
    day_us, offset = at_us, clock(zone, at_us).utcoffset()
    while day_us < at_us + 400 * DAY_US and clock(zone, day_us).utcoffset() == offset:
        day_us += DAY_US
    for unit in UNITS:
        for near_us in range(day_us - DAY_US, day_us, 2 * HOUR_US):
            start_us, end_us = bounds(fixed(unit, zone), near_us + off_us)
            assert start_us <= near_us + off_us < end_us
            assert bounds(fixed(unit, zone), start_us) == bounds(fixed(unit, zone), end_us - 1)
            assert bounds(fixed(unit, zone), end_us)[0] == end_us


@given(st.sampled_from(ZONES), instants_us)
def test_a_day_begins_where_its_date_does(zone, at_us):
    """The first instant of a day has a date that the instant before had not, and the clock shows it first."""
    start_us, end_us = bounds(fixed("day", zone), at_us)
    assert clock(zone, start_us).date() > clock(zone, start_us - 1).date()
    assert clock(zone, end_us).date() > clock(zone, start_us).date()


@given(st.sampled_from(ZONES), instants_us)
def test_a_month_begins_with_its_first_day(zone, at_us):
    """A month is its days: it begins when its first day does, and ends when the next month's does."""
    start_us, end_us = bounds(fixed("month", zone), at_us)
    assert clock(zone, start_us).day == 1
    assert bounds(fixed("day", zone), start_us)[0] == start_us
    assert bounds(fixed("day", zone), end_us)[0] == end_us
    assert 27 * DAY_US < end_us - start_us <= 31 * DAY_US + HOUR_US


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", (2026, 3, 28), 24),
        ("Europe/Berlin", (2026, 3, 29), 23),
        ("Europe/Berlin", (2026, 10, 25), 25),
        ("America/Los_Angeles", (2026, 3, 8), 23),
        ("America/Los_Angeles", (2026, 11, 1), 25),
        ("Australia/Lord_Howe", (2026, 4, 5), 24.5),
        ("Australia/Lord_Howe", (2026, 10, 4), 23.5),
        ("UTC", (2026, 3, 29), 24),
    ],
)
def test_a_day_has_as_many_hours_as_its_clock_was_let_run(zone, day, hours):
    """Days of 23 and 25 hours, and of half hours, are as long as they were."""
    start_us, end_us = bounds(fixed("day", zone), instant_us(zone, *day, 12))
    assert start_us == instant_us(zone, *day)
    assert end_us - start_us == hours * HOUR_US


def test_a_day_without_midnight_begins_at_one_o_clock():
    """In Santiago the clock jumps from 24:00 to 1:00: the day begins with the jump and has 23 hours."""
    start_us, end_us = bounds(
        fixed("day", "America/Santiago"), instant_us("America/Santiago", 2026, 9, 6, 12)
    )
    assert start_us == instant_us("America/Santiago", 2026, 9, 6, 1)
    assert end_us - start_us == 23 * HOUR_US
    assert bounds(fixed("day", "America/Santiago"), start_us - 1)[1] == start_us


def test_a_skip_that_began_before_midnight_begins_the_day():
    """Toronto once went from 23:30 to 0:30: the day began at the skip, between the two midnights."""
    skip_us = int(datetime(1919, 3, 31, 4, 30, tzinfo=UTC).timestamp()) * SECOND_US
    assert bounds(fixed("day", "America/Toronto"), skip_us + HOUR_US)[0] == skip_us
    assert bounds(fixed("day", "America/Toronto"), skip_us - 1)[1] == skip_us


def test_a_midnight_that_strikes_twice_begins_one_day():
    """In Havana 0:00 to 1:00 is run through twice: the day begins with the first and has 25 hours."""
    start_us, end_us = bounds(fixed("day", "America/Havana"), instant_us("America/Havana", 2019, 11, 3, 12))
    assert end_us - start_us == 25 * HOUR_US
    assert bounds(fixed("day", "America/Havana"), start_us + HOUR_US + 1) == (start_us, end_us)


def test_a_clock_put_back_over_midnight_does_not_bring_yesterday_back():
    """In St. John's 0:01 was followed by 23:01 of the day before: what had begun went on."""
    zone = "America/St_Johns"
    midnight_us = instant_us(zone, 2010, 11, 7)
    window = bounds(fixed("day", zone), midnight_us)
    assert window[0] == midnight_us
    assert clock(zone, midnight_us + 30 * MINUTE_US).day == 6
    assert bounds(fixed("day", zone), midnight_us + 30 * MINUTE_US) == window


def test_a_day_that_never_was_is_no_window():
    """Samoa left out 30 December 2011: the 29th ends where the 31st begins."""
    zone = "Pacific/Apia"
    assert bounds(fixed("day", zone), instant_us(zone, 2011, 12, 29, 12))[1] == instant_us(zone, 2011, 12, 31)


def test_hours_and_minutes_follow_the_clock_of_the_zone():
    """An hour in Kathmandu begins at a quarter past in UTC; minutes and seconds begin everywhere at once."""
    at_us = instant_us("UTC", 2026, 5, 5, 10, 40, 30) + 250_000
    assert bounds(fixed("hour", "Asia/Kathmandu"), at_us)[0] == instant_us("UTC", 2026, 5, 5, 10, 15)
    assert bounds(fixed("hour"), at_us)[0] == instant_us("UTC", 2026, 5, 5, 10)
    assert bounds(fixed("minute", "Asia/Kathmandu"), at_us)[0] == instant_us("UTC", 2026, 5, 5, 10, 40)
    assert bounds(fixed("second"), at_us)[0] == instant_us("UTC", 2026, 5, 5, 10, 40, 30)


def test_an_hour_that_is_cut_in_two_is_two_windows():
    """Lord Howe Island goes back from 2:00 to 1:30: the half hour that follows is a window of its own."""
    zone = "Australia/Lord_Howe"
    back_us = instant_us(zone, 2026, 4, 5, 1) + HOUR_US
    assert bounds(fixed("hour", zone), back_us - 1) == (back_us - HOUR_US, back_us)
    assert bounds(fixed("hour", zone), back_us) == (back_us, back_us + HOUR_US // 2)


def test_rolling_windows_have_one_length():
    """A month rolls for thirty days, and all others for what they are called."""
    lengths_us = [rolling(unit).length_us for unit in UNITS]
    assert lengths_us == [SECOND_US, MINUTE_US, HOUR_US, DAY_US, 30 * DAY_US]


NO_ZONES = [
    "Mars/Olympus",
    "Europe",
    "../UTC",
    "Europe/../UTC",
    "/etc/localtime",
    "localtime",
    "right/UTC",
    "posix/UTC",
    "Factory",
    "posixrules",
    "zone.tab",
    "leapseconds",
    "É",
]


def test_an_hour_ends_early_where_the_clock_is_moved_in_its_middle():
    """Pyongyang went from 23:30 to 24:00: that hour had thirty minutes."""
    moved_us = instant_us("UTC", 2018, 5, 4, 15)
    zone = "Asia/Pyongyang"
    assert bounds(fixed("hour", zone), moved_us - 1) == (moved_us - HOUR_US // 2, moved_us)
    assert bounds(fixed("hour", zone), moved_us) == (moved_us, moved_us + HOUR_US)


@pytest.mark.parametrize("name", ["", "Europe/Berlin\n", "a" * 300, "\0", *NO_ZONES])
def test_a_zone_that_is_none_is_refused(name):
    """Unknown names, paths, the machine's own zone and zones with leap seconds are no zones."""
    with pytest.raises(InvalidRequestError, match="time zone"):
        zone_named(name)


def test_utc_needs_no_database():
    """UTC is known even where no time zones are installed."""
    assert zone_named("UTC") is UTC
