"""A question to a report as SQL.

Rows are grouped by small numbers: one for all paths with the same words, and those of local hours and days.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from apikeyrouter.adapters.reports.definitions import Bucket, Dimension, Report
from apikeyrouter.adapters.reports.schema import PATHS
from apikeyrouter.application.reporting.calendar import Offset
from apikeyrouter.application.reporting.questions import Filter, ReportQuestion
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.windows import DAY_US, HOUR_US

_BUCKETS: dict[Bucket, int] = {"hour": HOUR_US, "day": DAY_US, "month": DAY_US}
NO_VALUE = -1


class Statement(msgspec.Struct, frozen=True):
    """SQL with the values of its parameters."""

    sql: str
    values: tuple[Any, ...]


NOTHING = Statement("", ())


class Query:
    """A question to one report; `ahead` are the offsets of the local clocks in its period."""

    def __init__(self, report: Report, question: ReportQuestion, ahead: Sequence[Offset]) -> None:
        self.report = report
        self.question = question
        self.by = report.by if question.by is None else question.by
        self._ahead = ahead
        for name in (*self.by, *(one.name for one in question.where)):
            self._dimension(name)
        for one in question.where:
            if self._dimension(one.name).bucket is not None:
                raise InvalidRequestError(
                    f"{one.name} is filtered by the period of the report", param="where"
                )

    @property
    def lists(self) -> bool:
        """True if a row is one event, so that there is nothing to count."""
        return "position" in self.by

    @property
    def groups_paths(self) -> bool:
        """True if the first column of a row is the number of its paths."""
        return any(self._dimension(name).of_path for name in self.by)

    @property
    def overlaps(self) -> bool:
        """True if one row may stand in several groups."""
        return any(self._dimension(name).join for name in self.by)

    def rows(self) -> Statement:
        """Select what is counted by group: the number of its paths, its other words, and the measures."""
        columns = ["g.number"] if self.groups_paths else []
        columns += [
            self._number(self._dimension(name)) for name in self.by if not self._dimension(name).of_path
        ]
        found = self._counted(columns, self.by)
        if not self.lists:
            return found
        order = ", ".join(str(number) for number in range(1, len(columns) + 1))
        return Statement(f"{found.sql} ORDER BY {order} LIMIT {int(self.question.limit) + 1}", found.values)

    def total(self) -> Statement:
        """Select what is counted in all."""
        return self._counted([], ())

    def keyed_values(self, values: Sequence[str]) -> Statement:
        """Select the numbers of the group and some values of every row that has one of them."""
        bucket = next((name for name in self.by if self._dimension(name).bucket), None)
        time = "0" if bucket is None else self._number(self._dimension(bucket))
        path = f"coalesce(g.number, {NO_VALUE})" if self.groups_paths else "0"
        told = [f"coalesce({value}, {NO_VALUE})" for value in values]
        any_of_them = " OR ".join(f"{value} IS NOT NULL" for value in values)
        return self._from(f"SELECT {', '.join([path, time, *told])}", self.by, f"({any_of_them})")

    def positions(self, after: int, limit: int) -> Statement:
        """Select the positions of the events behind the rows; each kind by itself first, for speed."""
        parts, matched = self._kinds_of_positions()
        wanted = f"position > {int(after)} ORDER BY position LIMIT {int(limit)}"
        kinds = " UNION ".join(f"SELECT * FROM (SELECT * FROM ({part.sql}) WHERE {wanted})" for part in parts)
        sql = f"{matched.sql} SELECT position FROM ({kinds}) ORDER BY position LIMIT {int(limit)}"
        return Statement(sql, (*matched.values, *_values(parts)))

    def positions_count(self) -> Statement:
        """Count the events behind the rows."""
        if "events" in self.report.measures:
            return self._from(f"SELECT {self.report.measures['events'].sql}", (), "")
        parts, matched = self._kinds_of_positions()
        kinds = " UNION ".join(part.sql for part in parts)
        sql = f"{matched.sql} SELECT count(*) FROM ({kinds}) WHERE position IS NOT NULL"
        return Statement(sql, (*matched.values, *_values(parts)))

    def _kinds_of_positions(self) -> tuple[list[Statement], Statement]:
        """Return one selection for each kind of event, and what stands before them."""
        source = self.report.source
        if not source.positions_of_requests:
            return [self._from(f"SELECT {one} AS position", (), "") for one in source.positions], NOTHING
        matched = self._from("SELECT s.request_id, s.last_position AS position", (), "")
        kinds = [Statement("SELECT position FROM matched", ())]
        for column, table in (("d.position", "decisions d"), ("a.ended_position", "attempts a")):
            among = "request_id IN (SELECT request_id FROM matched)"
            kinds.append(Statement(f"SELECT {column} AS position FROM {table} WHERE {among}", ()))
        return kinds, Statement(f"WITH matched AS MATERIALIZED ({matched.sql})", matched.values)

    def _counted(self, columns: Sequence[str], by: Sequence[str]) -> Statement:
        measures = [one.sql for one in self.report.measures.values()]
        found = self._from(f"SELECT {', '.join([*columns, *measures])}", by, "")
        numbered = ", ".join(str(number) for number in range(1, len(columns) + 1))
        return Statement(f"{found.sql} GROUP BY {numbered}" if columns else found.sql, found.values)

    def _from(self, select: str, by: Sequence[str], also: str) -> Statement:
        source = self.report.source
        joins = [join for join in dict.fromkeys(self._dimension(name).join for name in by) if join]
        if any(self._dimension(name).of_path for name in by):
            joins.append(f"LEFT JOIN path_groups g ON g.path_id = {source.path}")
        conditions = [one for one in (source.condition, also) if one]
        values: list[int | str] = []
        period = self.question.period
        for bound, sign in ((period.begin_us, ">="), (period.end_us, "<")):
            if bound is not None:
                conditions.append(f"{source.at_us} {sign} ?")
                values.append(bound)
        for one in self.question.where:
            condition, wanted = self._filter(one, by)
            conditions.append(condition)
            values += wanted
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return Statement(f"{select} FROM {' '.join([source.rows, *joins])}{where}", tuple(values))

    def _filter(self, one: Filter, by: Sequence[str]) -> tuple[str, list[str]]:
        dimension = self._dimension(one.name)
        condition, values = _is_one_of(f"CAST({dimension.sql} AS TEXT)", one.values)
        if dimension.of_path:
            source, has_none = self.report.source, "" in one.values
            among = f"{source.path} IN (SELECT p.path_id FROM {PATHS} p WHERE {condition})"
            return (f"({among} OR {source.path} IS NULL)" if has_none else among), values
        if dimension.having and one.name not in by:
            return self._among_several(dimension, one)
        return condition, values

    def _among_several(self, dimension: Dimension, one: Filter) -> tuple[str, list[str]]:
        """Filter rows by what they have several of; none of any is what an empty text asks for."""
        told = [value for value in one.values if value]
        condition, values = _is_one_of(dimension.sql, told) if told else ("0", [])
        found = dimension.having.format(condition=condition)
        if "" not in one.values:
            return found, values
        return f"({found} OR NOT {dimension.having.format(condition='1')})", values

    def _number(self, dimension: Dimension) -> str:
        """Return what rows are grouped by first: words, or numbers of local hours or days."""
        if dimension.bucket is None:
            return dimension.sql
        return f"({dimension.sql} + {self._ahead_of(dimension.sql)}) / {_BUCKETS[dimension.bucket]}"

    def _ahead_of(self, at_us: str) -> str:
        *changes, last = self._ahead
        if not changes:
            return str(last.ahead_us)
        cases = " ".join(f"WHEN {at_us} < {one.until_us} THEN {one.ahead_us}" for one in changes)
        return f"(CASE {cases} ELSE {last.ahead_us} END)"

    def _dimension(self, name: str) -> Dimension:
        known = self.report.dimensions.get(name)
        if known is None:
            raise InvalidRequestError(
                f"the report {self.report.name} has no column {name[:40]!r}; it has"
                f" {', '.join(self.report.dimensions)}",
                param="by",
            )
        return known


def _values(statements: Sequence[Statement]) -> tuple[Any, ...]:
    return tuple(value for one in statements for value in one.values)


def _is_one_of(expression: str, values: Sequence[str]) -> tuple[str, list[str]]:
    told = [value for value in values if value]
    parts = [f"{expression} IN ({', '.join('?' * len(told))})"] if told else []
    if len(told) < len(values):
        parts.append(f"{expression} IS NULL")
    return f"({' OR '.join(parts)})", told
