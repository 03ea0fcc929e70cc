"""From the numbers that rows are grouped by to the words that were asked for."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from apikeyrouter.adapters.reports.definitions import (
    BUCKET_FORMATS,
    BUCKET_SECONDS,
    Bucket,
    Measure,
    Report,
)
from apikeyrouter.adapters.reports.definitions import PATHS as WORDS
from apikeyrouter.adapters.reports.schema import PATHS

if TYPE_CHECKING:
    from sqlite_utils import Database

Words = tuple[Any, ...]
Row = tuple[Any, ...]

_TOGETHER: dict[str, Callable[[list[Any]], Any]] = {"sum": sum, "min": min, "max": max}


class Groups:
    """The groups of a question. Paths with the same words get one number, in a table of this transaction."""

    def __init__(self, database: "Database", report: Report, by: Sequence[str]) -> None:
        self.by = by
        self._report = report
        self._words = [WORDS[name] for name in by if report.dimensions[name].of_path]
        self.leading = len(by) - len(self._words) + bool(self._words)
        """How many columns of a row are numbers and words of its group."""
        self._paths: list[Words] = []
        self._known: dict[Row, Words] = {}
        if self._words:
            self._number_paths(database)

    def words(self, row: Row) -> Words:
        """Return the words of a row: the number of its paths comes first, if they are grouped by."""
        leading = row[: self.leading]
        known = self._known.get(leading)
        if known is None:
            known = self._known[leading] = self._read(leading)
        return known

    def merged(self, rows: Iterable[Row]) -> dict[Words, list[Any]]:
        """Return what was counted by words: days of one month come together here."""
        measures = list(self._report.measures.values())
        counting = slice(self.leading, self.leading + len(measures))
        found: dict[Words, list[Any]] = {}
        for row in rows:
            words, counted = self.words(row), row[counting]
            known = found.get(words)
            found[words] = list(counted) if known is None else together(measures, (known, counted))
        return found

    def _read(self, row: Row) -> Words:
        rest = iter(row[1:] if self._words else row)
        path = iter(self._of_path(row[0]) if self._words else ())
        return tuple(self._word(name, path, rest) for name in self.by)

    def _of_path(self, number: int | None) -> Words:
        """Return the words of a path's number; rows without a path have none of them."""
        return (None,) * len(self._words) if number is None else self._paths[number]

    def _word(self, name: str, path: Iterable[Any], rest: Iterable[Any]) -> Any:
        dimension = self._report.dimensions[name]
        value = next(iter(path if dimension.of_path else rest))
        if dimension.bucket is None or value is None:
            return value
        return _name_of(dimension.bucket, value)

    def _number_paths(self, database: "Database") -> None:
        numbers: dict[Words, int] = {}
        rows = database.execute(f"SELECT path_id, {', '.join(self._words)} FROM {PATHS}")
        numbered = [(path_id, numbers.setdefault(tuple(words), len(numbers))) for path_id, *words in rows]
        self._paths = list(numbers)
        database.execute("CREATE TEMP TABLE path_groups (path_id INTEGER PRIMARY KEY, number INTEGER)")
        database.conn.executemany("INSERT INTO path_groups VALUES (?, ?)", numbered)


def together(measures: Sequence[Measure], rows: Iterable[Sequence[Any]]) -> list[Any]:
    """Return what several groups come to; null is nothing counted."""
    return [
        _one_of(_TOGETHER[measure.together], told)
        for measure, told in zip(measures, zip(*rows, strict=True), strict=True)
    ]


def _one_of(combine: Callable[[list[Any]], Any], told: Iterable[Any]) -> Any:
    counted = [value for value in told if value is not None]
    return combine(counted) if counted else None


@lru_cache(maxsize=10_000)
def _name_of(bucket: Bucket, number: int) -> str:
    """Name a local hour, day or month by the number of its hour or day since 1970."""
    at = datetime.fromtimestamp(number * BUCKET_SECONDS[bucket], UTC)
    return at.strftime(BUCKET_FORMATS[bucket])
