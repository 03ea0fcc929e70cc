"""Every number of every report can be asked for its events, and comes out again from these."""

from functools import partial
from typing import NamedTuple

import msgspec
import pytest
from accountant import recomputed, told
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import ROOT
from report_givens import HOUR_US, SPAN_US, START_US, ListLog, kept, logs

from apikeyrouter.adapters.eventlog.mapper import from_stored
from apikeyrouter.adapters.reports.answers import Answers
from apikeyrouter.adapters.reports.catalogue import REPORTS
from apikeyrouter.application.reporting.periods import Period
from apikeyrouter.application.reporting.questions import Filter, ReportQuestion, Unit
from apikeyrouter.domain.events import EVENT_TYPES
from apikeyrouter.interfaces import report_views

ZONES = ("UTC", "Europe/Berlin", "America/St_Johns")
SAMPLES = ROOT / "tests" / "eventlog" / "samples"
OTHERS = {
    name: from_stored("s", 1, name, (SAMPLES / f"{name}.json").read_bytes())
    for name in EVENT_TYPES
    if not name.startswith("request.")
}
STREAMS = {
    "budget": ("budget-b1", "budget-b2"),
    "lease": ("budget-b1", "budget-b2"),
    "key": ("key-a", "key-b"),
    "quota": ("quota-pool/tokens/minute", "quota-other"),
    "payload": ("payload-1", "payload-2"),
}
MOST_ROWS = 12


@st.composite
def _another(draw):
    """Draw an event that is no request's, as its sample has it but for time and numbers."""
    name = draw(st.sampled_from(sorted(OTHERS)))
    event = OTHERS[name]
    numbers = {
        field: draw(st.integers(0, 10**12))
        for field in event.__struct_fields__
        if field != "at_us" and type(getattr(event, field)) is int
    }
    at_us = START_US + draw(st.integers(0, SPAN_US // HOUR_US)) * HOUR_US
    stream = draw(st.sampled_from(STREAMS.get(name.partition(".")[0], ("log",))))
    return stream, msgspec.structs.replace(event, at_us=at_us, **numbers)


@st.composite
def histories(draw):
    """Draw a log with everything that a log can hold."""
    log = draw(logs())
    for stream, event in draw(st.lists(_another(), max_size=12)):
        log.append(stream, event)
    return log


class Asked(NamedTuple):
    """How a report is asked."""

    by: tuple[str, ...]
    zone: str
    period: Period


@st.composite
def questions(draw, report):
    columns = sorted(REPORTS[report].dimensions)
    by = draw(st.just(REPORTS[report].by) | st.lists(st.sampled_from(columns), max_size=3, unique=True))
    begin, end = sorted(draw(st.tuples(*[st.integers(0, 96)] * 2)))
    period = draw(st.just(Period()) | st.just(Period(START_US + begin * HOUR_US, START_US + end * HOUR_US)))
    return Asked(tuple(by), draw(st.sampled_from(ZONES)), period)


def rows_with_their_words(answer):
    """Yield each row as it is, and as it is shown."""
    names = [column.name for column in answer.columns]
    for row, shown in zip(answer.rows, report_views.rows(answer), strict=True):
        yield dict(zip(names, row, strict=True)), dict(zip(names, shown, strict=True))


class TestEveryReport:
    @pytest.mark.parametrize("report", REPORTS)
    @settings(deadline=None, max_examples=40)
    @given(st.data())
    def test_each_number_is_that_of_the_events_behind_it(self, report, data):
        """A row's own words, as conditions, list the events that its numbers come from."""
        log: ListLog = data.draw(histories())
        asked = data.draw(questions(report))
        answers = Answers(kept(log))
        ask = partial(ReportQuestion, report=report, zone=asked.zone, period=asked.period)
        answer = answers.ask(ask(by=asked.by))
        for row, shown in list(rows_with_their_words(answer))[:MOST_ROWS]:
            words = ((name, "" if shown[name] is None else str(shown[name])) for name in answer.by)
            traced = answers.trace(ask(where=tuple(Filter(name, (word,)) for name, word in words)))
            events = [log.events[position - 1] for position in traced.positions]
            assert traced.count == len(events)
            self.assert_numbers(report, answer, row, events)

    @pytest.mark.parametrize("report", REPORTS)
    @settings(deadline=None, max_examples=15)
    @given(st.data())
    def test_the_sums_are_those_of_all_events(self, report, data):
        """What stands under the rows is traced without a condition."""
        log = data.draw(histories())
        asked = data.draw(questions(report))
        by = tuple(name for name in asked.by if name != "position") or ("day",)
        answers = Answers(kept(log))
        ask = partial(ReportQuestion, report=report, zone=asked.zone, period=asked.period)
        answer = answers.ask(ask(by=by))
        traced = answers.trace(ask())
        if not answer.rows:
            assert not traced.positions
            return
        counted = [column.name for column in answer.columns if not column.groups]
        again = recomputed(report, [log.events[position - 1] for position in traced.positions], {})
        assert dict(zip(counted, answer.total, strict=True)) == {name: again[name] for name in counted}

    @staticmethod
    def assert_numbers(report, answer, row, events):
        grouped = {column.name: row[column.name] for column in answer.columns if column.groups}
        again = recomputed(report, events, grouped)
        for column in answer.columns:
            if not column.groups:
                assert row[column.name] == again[column.name], column.name
            elif column.unit is not Unit.Text and not REPORTS[report].dimensions[column.name].bucket:
                assert {told(report, column.name, one) for one in events} == {row[column.name]}, column.name
