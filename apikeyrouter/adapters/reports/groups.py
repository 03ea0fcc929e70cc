"""From the numbers that rows are grouped by to the words that were asked for."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from apikeyrouter.adapters.reports.definitions import PATHS as WORDS
from apikeyrouter.adapters.reports.definitions import Bucket, Measure, Report
from apikeyrouter.adapters.reports.schema import PATHS

if TYPE_CHECKING:
    from sqlite_utils import Database

Words = tuple[Any, ...]
Row = tuple[Any, ...]

_FORMATS: dict[Bucket, str] = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d", "month": "%Y-%m"}
_SECONDS: dict[Bucket, int] = {"hour": 3600, "day": 86_400, "month": 86_400}
_TOGETHER: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda first, second: first + second,
    "min": min,
    "max": max,
}


class Groups:
    """The groups of a question. Paths with the same words get one number, in a table of this transaction."""

    def __init__(self, database: "Database", report: Report, by: Sequence[str]) -> None:
        self.by = by
        self._report = report
        self._words = [WORDS[name] for name in by if report.dimensions[name].of_path]
        self._paths: list[Words] = []
        if self._words:
            self._number_paths(database)

    def words(self, row: Row) -> Words:
        """Return the words of a row: the number of its paths comes first, if they are grouped by."""
        rest = iter(row[1:] if self._words else row)
        path = iter(self.of_path(row[0]) if self._words else ())
        return tuple(self._word(name, path, rest) for name in self.by)

    def of_path(self, number: int | None) -> Words:
        """Return the words of a path's number; rows without a path have none of them."""
        return (None,) * len(self._words) if number is None else self._paths[number]

    def time(self, bucket: Bucket, number: int) -> str:
        """Return the name of a local hour, day or month, by the number of its hour or day since 1970."""
        return datetime.fromtimestamp(number * _SECONDS[bucket], UTC).strftime(_FORMATS[bucket])

    @property
    def leading(self) -> int:
        """How many columns of a row are numbers and words of its group."""
        return len(self.by) - len(self._words) + bool(self._words)

    def merged(self, rows: Iterable[Row]) -> dict[Words, list[Any]]:
        """Return what was counted by words: days of one month come together here."""
        measures, leading = list(self._report.measures.values()), self.leading
        found: dict[Words, list[Any]] = {}
        for row in rows:
            words, counted = self.words(row), row[leading:]
            known = found.get(words)
            found[words] = list(counted) if known is None else together(measures, known, counted)
        return found

    def _word(self, name: str, path: Iterable[Any], rest: Iterable[Any]) -> Any:
        dimension = self._report.dimensions[name]
        value = next(iter(path if dimension.of_path else rest))
        if dimension.bucket is None or value is None:
            return value
        return self.time(dimension.bucket, value)

    def _number_paths(self, database: "Database") -> None:
        numbers: dict[Words, int] = {}
        rows = database.execute(f"SELECT path_id, {', '.join(self._words)} FROM {PATHS}")
        numbered = [(path_id, numbers.setdefault(tuple(words), len(numbers))) for path_id, *words in rows]
        self._paths = list(numbers)
        database.execute("CREATE TEMP TABLE path_groups (path_id INTEGER PRIMARY KEY, number INTEGER)")
        database.conn.executemany("INSERT INTO path_groups VALUES (?, ?)", numbered)


def together(measures: Sequence[Measure], first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    """Return what two groups come to; null is nothing counted."""
    return [
        _either(_TOGETHER[measure.together], one, other)
        for measure, one, other in zip(measures, first, second, strict=True)
    ]


def _either(combine: Callable[[Any, Any], Any], first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    return combine(first, second)
