"""Numbers for paths, in the order in which the log tells of them first."""

from typing import TYPE_CHECKING, Any

from apikeyrouter.adapters.reports.schema import PATHS
from apikeyrouter.application.projections.tables import CallPath, Writing

if TYPE_CHECKING:
    from sqlite_utils import Database

Row = tuple[Any, ...]

_SELECT = f"SELECT {', '.join(CallPath._fields)} FROM {PATHS} ORDER BY path_id"
_INSERT = f"INSERT INTO {PATHS} VALUES ({', '.join('?' * (1 + len(CallPath._fields)))})"


class PathNumbers:
    """The paths of a file, each with its number; to be refreshed when a transaction begins."""

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._numbers: dict[CallPath, int] = {}
        self._new: list[Row] = []

    def refresh(self) -> None:
        """Read the paths again if others wrote some, or if ours were rolled back."""
        stored = self._database.execute(f"SELECT coalesce(max(path_id), 0) FROM {PATHS}").fetchone()[0]
        if stored != len(self._numbers):
            paths = self._database.execute(_SELECT)
            self._numbers = {CallPath(*words): number for number, words in enumerate(paths, 1)}
        self._new.clear()

    def numbered(self, writing: Writing, rows: list[Row]) -> list[Row]:
        """Put numbers in the place of paths, giving the next ones to paths that have none."""
        if "path_id" not in writing.columns:
            return rows
        at = writing.columns.index("path_id")
        number = self._number
        return [row if row[at] is None else (*row[:at], number(row[at]), *row[at + 1 :]) for row in rows]

    def write(self) -> None:
        """Write the paths that were numbered in this transaction."""
        self._database.conn.executemany(_INSERT, self._new)
        self._new.clear()

    def forget(self) -> None:
        """Begin numbering anew."""
        self._database.execute(f"DELETE FROM {PATHS}")
        self._numbers.clear()

    def _number(self, path: CallPath) -> int:
        number = self._numbers.get(path)
        if number is None:
            number = self._numbers[path] = len(self._numbers) + 1
            self._new.append((number, *path))
        return number
