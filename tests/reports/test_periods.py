"""Periods as people write them, and local days under any clock."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.application.reporting.calendar import offsets
from apikeyrouter.application.reporting.periods import Period, parse_period
from apikeyrouter.application.reporting.questions import Filter, parse_columns, parse_filters
from apikeyrouter.domain.models.system_error import InvalidRequestError

NOW_US = 1_780_056_000_000_000
DAY_US = 86_400_000_000
BERLIN = "Europe/Berlin"


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * 1_000_000


def parsed(begin=None, end=None, last=None, zone="UTC"):
    return parse_period(begin=begin, end=end, last=last, zone=zone, now_us=NOW_US)


class TestPeriods:
    def test_a_month_is_the_whole_of_it_in_its_zone(self):
        """March in Berlin is an hour short, for its clocks go forward."""
        march = parsed("2026-03", "2026-03", zone=BERLIN)
        assert march == Period(us("2026-03-01T00:00+01:00"), us("2026-04-01T00:00+02:00"))

    def test_until_a_day_is_until_its_end(self):
        """Who writes a last day means it to be in."""
        assert parsed("2026-03-01", "2026-03-31") == parsed("2026-03", "2026-03")

    def test_instants_are_what_they_say(self):
        """With an offset in any zone, without one in the report's."""
        assert parsed("2026-03-01T12:00", zone=BERLIN).begin_us == us("2026-03-01T12:00+01:00")
        assert parsed("2026-03-01T12:00Z", zone=BERLIN).begin_us == us("2026-03-01T12:00+00:00")

    def test_the_last_so_many(self):
        """Until now, what happens at this very instant included."""
        assert parsed(last="30d") == Period(NOW_US - 30 * DAY_US, NOW_US + 1)
        assert parsed() == Period(None, None)

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ({"begin": "March"}, "is no date"),
            ({"begin": "2026-13"}, "is no date"),
            ({"begin": "2026-02-30"}, "is no date"),
            ({"end": "9999-12"}, "is no date"),
            ({"begin": "2026-03", "end": "2026-02"}, "ends before it begins"),
            ({"last": "30"}, "last is a number"),
            ({"last": "30d", "begin": "2026-03"}, "in the place of from"),
            ({"begin": "2026-03", "zone": "Mars/Olympus"}, "unknown time zone"),
        ],
    )
    def test_what_is_no_period_is_refused_in_words(self, asked, said):
        """A report over a period that nobody meant would look like an answer."""
        with pytest.raises(InvalidRequestError, match=said):
            parsed(**asked)

    @given(st.text(max_size=12))
    def test_any_text_is_a_period_or_a_refusal(self, text):
        """Nothing else comes of what people type."""
        for part in ("begin", "end", "last"):
            try:
                assert isinstance(parsed(**{part: text}), Period)
            except InvalidRequestError:
                continue


class TestOffsets:
    @given(
        st.sampled_from(
            ("UTC", BERLIN, "America/New_York", "Africa/Casablanca", "Pacific/Apia", "Australia/Lord_Howe")
        ),
        st.integers(us("2009-01-01T00:00+00:00"), us("2030-01-01T00:00+00:00")),
        st.integers(0, 800 * DAY_US),
        st.lists(st.floats(0, 1), max_size=8),
    )
    def test_they_are_those_of_the_zone_at_every_instant(self, zone, begin_us, length_us, places):
        """Also for a zone that skipped a day, and one whose clocks move by half an hour."""
        tz = ZoneInfo(zone)
        told = offsets(tz, begin_us, begin_us + length_us)
        for place in places:
            at_us = begin_us + int(length_us * place)
            ahead_us = next(one.ahead_us for one in told if one.until_us is None or at_us < one.until_us)
            instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
            assert timedelta(microseconds=ahead_us) == instant.astimezone(tz).utcoffset()


class TestWords:
    def test_columns_with_commas_or_one_by_one(self):
        """Both ways are usual; twice the same is once."""
        assert parse_columns(["client, model", "client"]) == ("client", "model")
        assert parse_columns([]) is None

    def test_conditions_on_one_column_come_together(self):
        """A value may hold an equals sign, and may be empty."""
        told = parse_filters(["client=a", "client=", "tag=k=v"])
        assert told == (Filter("client", ("a", "")), Filter("tag", ("k=v",)))

    @pytest.mark.parametrize("text", ["client", "=a", ""])
    def test_what_is_no_condition(self, text):
        """It is refused, not ignored."""
        with pytest.raises(InvalidRequestError, match="column=value"):
            parse_filters([text])
