"""Quantiles for the rows of an answer: exact, of every group and of all together."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from apikeyrouter.adapters.reports.definitions import Report, values_of
from apikeyrouter.adapters.reports.groups import Groups, Row, Words
from apikeyrouter.adapters.reports.quantiles import Numbers, quantiles


class Latencies(NamedTuple):
    """The quantiles of a report in its order: by the words of a group, and those of all rows."""

    by_group: dict[Words, list[int | None]]
    overall: list[int | None]


def latencies(report: Report, groups: Groups, rows: Sequence[Row]) -> Latencies:
    """Return the quantiles of a report from its rows, which end with the values of each group."""
    told, values = report.quantiles.values(), values_of(report)
    numbers: dict[Words, int] = {}
    numbered = [numbers.setdefault(groups.words(row), len(numbers)) for row in rows]
    words = list(numbers)
    found = Latencies({each: [None] * len(told) for each in words}, [None] * len(told))
    for column, value in enumerate(values, -len(values)):
        places = [place for place, one in enumerate(told) if one.value == value]
        gathered = _gathered(numbered, [row[column] for row in rows])
        by_group, overall = quantiles(*gathered, [one.share for one in told if one.value == value])
        for place, each, alone in zip(places, by_group, overall, strict=True):
            found.overall[place] = alone
            for number, quantile in each.items():
                found.by_group[words[number]][place] = quantile
    return found


def _gathered(numbered: Sequence[int], texts: Sequence[str | None]) -> tuple[Numbers, Numbers]:
    """Return the number of the group of each value, and the values."""
    there = [(number, text) for number, text in zip(numbered, texts, strict=True) if text]
    sizes = [text.count(",") + 1 for _, text in there]
    groups = np.repeat(np.array([number for number, _ in there], dtype=np.int64), sizes)
    joined = ",".join([text for _, text in there])
    return groups, np.fromstring(joined, dtype=np.int64, sep=",") if joined else groups
