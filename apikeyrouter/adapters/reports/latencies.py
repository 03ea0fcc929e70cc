"""Quantiles for the rows of an answer: exact, of every group and of all together, in one pass."""

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from apikeyrouter.adapters.reports.definitions import Report
from apikeyrouter.adapters.reports.groups import Groups, Words
from apikeyrouter.adapters.reports.quantiles import Numbers, quantiles
from apikeyrouter.adapters.reports.query import NO_VALUE, Query

if TYPE_CHECKING:
    from sqlite_utils import Database


class Latency(NamedTuple):
    """One quantile: its value by the words of a group, and that of all rows."""

    by_group: dict[Words, int]
    overall: int | None


def can_tell(report: Report, by: Sequence[str]) -> bool:
    """Tell whether quantiles can be given for a grouping: by paths and by one stretch of time."""
    buckets = [name for name in by if report.dimensions[name].bucket]
    return len(buckets) <= 1 and all(
        report.dimensions[name].of_path or report.dimensions[name].bucket for name in by
    )


def latencies(database: "Database", query: Query, groups: Groups) -> list[Latency]:
    """Return the quantiles of a report, in its order."""
    told = query.report.quantiles
    values = list(dict.fromkeys(one.value for one in told.values()))
    statement = query.keyed_values(values)
    rows = database.execute(statement.sql, statement.values)
    width = 2 + len(values)
    flat = np.fromiter(chain.from_iterable(rows), dtype=np.int64).reshape(-1, width)
    numbers, words = _numbered(flat, query, groups)
    found: dict[str, Latency] = {}
    for place, value in enumerate(values, 2):
        names = [name for name, one in told.items() if one.value == value]
        there = flat[:, place] != NO_VALUE
        shares = [told[name].share for name in names]
        by_group, overall = quantiles(numbers[there], flat[there, place], shares)
        for name, each, alone in zip(names, by_group, overall, strict=True):
            found[name] = Latency({words[number]: us for number, us in each.items()}, alone)
    return [found[name] for name in told]


def _numbered(flat: Numbers, query: Query, groups: Groups) -> tuple[Numbers, list[Words]]:
    """Return the number of each row's group, and the words of the groups."""
    numbers: dict[Words, int] = {}
    if not len(flat):
        return flat[:, 0], []
    pairs, place = _pairs(flat)
    known = [
        numbers.setdefault(_words(query, groups, path, time), len(numbers)) for path, time in pairs.tolist()
    ]
    return np.array(known, dtype=np.int64)[place], list(numbers)


def _pairs(flat: Numbers) -> tuple[Numbers, Numbers]:
    """Return the distinct pairs of the first two columns, and which of them each row has."""
    earliest, width = int(flat[:, 1].min()), int(np.ptp(flat[:, 1])) + 1
    lowest = int(flat[:, 0].min())
    cells, place = np.unique((flat[:, 0] - lowest) * width + (flat[:, 1] - earliest), return_inverse=True)
    return np.stack([cells // width + lowest, cells % width + earliest], axis=1), place


def _words(query: Query, groups: Groups, path: int, time: int) -> Words:
    number = None if path == NO_VALUE else path
    return groups.words((number, time) if query.groups_paths else (time,)) if groups.by else ()
