"""Answer questions from the file of the read models."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from apikeyrouter.adapters.reports.catalogue import REPORTS
from apikeyrouter.adapters.reports.definitions import Report
from apikeyrouter.adapters.reports.groups import Groups, Words, together
from apikeyrouter.adapters.reports.latencies import Latencies, latencies
from apikeyrouter.adapters.reports.query import Query, Statement
from apikeyrouter.adapters.reports.store import ReadModelFile, unavailable
from apikeyrouter.application.projections.collecting import without_collection
from apikeyrouter.application.reporting.calendar import Offset, offsets
from apikeyrouter.application.reporting.questions import (
    ReportAnswer,
    ReportColumn,
    ReportQuestion,
    TraceAnswer,
    Unit,
)
from apikeyrouter.domain.models.system_error import NotFoundError
from apikeyrouter.domain.windows import zone_named
from apikeyrouter.limits import MOST_TRACED_EVENTS

Row = tuple[Any, ...]
_UNTOLD = Latencies({}, [])


class Answers:
    """Answer questions from read models that have caught up, as they stand."""

    def __init__(self, store: ReadModelFile) -> None:
        self._store = store
        self._database = store.database

    def ask(self, question: ReportQuestion) -> ReportAnswer:
        """Answer a question; all that it tells is of one state of the file."""
        with without_collection(), self._one_state() as as_of:
            query = self._query(question)
            listed, total = self._listed(query) if query.lists else self._counted(query)
        return ReportAnswer(
            question=question,
            about=query.report.about,
            by=query.by,
            columns=_columns(query),
            rows=tuple(listed[: question.limit]),
            total=total,
            more=len(listed) > question.limit,
            as_of=as_of,
        )

    def trace(self, question: ReportQuestion, *, after: int = 0) -> TraceAnswer:
        """Return positions of events behind the rows of a question."""
        limit = min(question.limit, MOST_TRACED_EVENTS)
        with self._one_state() as as_of:
            query = self._query(question)
            found = [row[0] for row in self._execute(query.positions(after, limit))]
            count = self._execute(query.positions_count())[0][0]
        return TraceAnswer(positions=tuple(found), count=count, as_of=as_of)

    def _listed(self, query: Query) -> tuple[list[Row], None]:
        groups = Groups(self._database, query.report, query.by)
        return [groups.words(row) for row in self._execute(query.rows())], None

    def _counted(self, query: Query) -> tuple[list[Row], Row]:
        """Return the rows in their order, and the total: the sum of the rows, unless these overlap."""
        report = query.report
        groups, shares = Groups(self._database, report, query.by), _Shares(report)
        found = self._execute(query.rows())
        counted = groups.merged(found)
        measures = list(report.measures.values())
        several = query.overlaps or not counted
        total = self._execute(query.total())[0] if several else together(measures, counted.values())
        told = latencies(report, groups, found) if query.tells_quantiles else _UNTOLD
        unknown = [None] * len(told.overall)
        rows = [
            (*words, *measured, *shares.of(measured), *told.by_group.get(words, unknown))
            for words, measured in _in_order(query, counted)
        ]
        return rows, (*total, *shares.of(total), *told.overall)

    def _query(self, question: ReportQuestion) -> Query:
        report = REPORTS.get(question.report)
        if report is None:
            raise NotFoundError(
                f"there is no report {question.report[:40]!r}; there are {', '.join(REPORTS)}", param="report"
            )
        return Query(report, question, self._ahead(report, question))

    def _ahead(self, report: Report, question: ReportQuestion) -> list[Offset]:
        """Return how far the zone's clocks were ahead, over the period as far as there are rows."""
        if question.zone == "UTC":
            return [Offset(None, 0)]
        at_us, rows = report.source.at_us, report.source.rows
        first, last = self._execute(Statement(f"SELECT min({at_us}), max({at_us}) FROM {rows}", ()))[0]
        begin_us, end_us = question.period
        begin_us = max(first or 0, begin_us or 0)
        end_us = (last or 0) + 1 if end_us is None else min((last or 0) + 1, end_us)
        return offsets(zone_named(question.zone), begin_us, end_us)

    def _execute(self, statement: Statement) -> list[Row]:
        try:
            rows: list[Row] = self._database.execute(statement.sql, statement.values).fetchall()
        except sqlite3.Error as error:
            raise unavailable(self._store.path, error) from error
        return rows

    @contextmanager
    def _one_state(self) -> Iterator[int]:
        """Read one state of the file however others write it; tell the position that it stands at."""
        self._database.execute("BEGIN")
        try:
            yield min(standing.position for standing in self._store.standings().values())
        finally:
            self._database.execute("ROLLBACK")


def _columns(query: Query) -> tuple[ReportColumn, ...]:
    report = query.report
    grouping = [ReportColumn(name, report.dimensions[name].unit, groups=True) for name in query.by]
    if query.lists:
        return tuple(grouping)
    measured = [ReportColumn(name, one.unit) for name, one in report.measures.items()]
    shares = [ReportColumn(name, Unit.Share) for name in report.ratios]
    told = report.quantiles if query.tells_quantiles else ()
    return (*grouping, *measured, *shares, *(ReportColumn(name, Unit.Duration) for name in told))


class _Shares:
    """The ratios of a report, by the places of the measures that they are quotients of."""

    def __init__(self, report: Report) -> None:
        place = {name: number for number, name in enumerate(report.measures)}
        ratios = report.ratios.values()
        self._places = [(place[one.of], [place[name] for name in one.among]) for one in ratios]

    def of(self, measured: Sequence[Any]) -> list[float | None]:
        """Return the ratios of one row."""
        found: list[float | None] = []
        for part, whole in self._places:
            among = sum([measured[place] or 0 for place in whole])
            found.append(measured[part] / among if among else None)
        return found


def _in_order(query: Query, counted: dict[Words, list[Any]]) -> list[tuple[Words, list[Any]]]:
    """Put the greatest first, or the earliest where rows are stretches of time."""
    report = query.report
    in_time = any(report.dimensions[name].bucket for name in query.by)
    largest = None if in_time or report.largest is None else list(report.measures).index(report.largest)

    def place(row: tuple[Words, list[Any]]) -> tuple[Any, ...]:
        words, measured = row
        named = tuple([(word is not None, word) for word in words])
        return (-measured[largest], named) if largest is not None else (0, named)

    return sorted(counted.items(), key=place)
