"""The tables of read models, and how rows about the same thing come together, whatever is cut where.

Every rule is associative, and null says "not told": so a table comes out the same however the log was cut
into batches, and rebuilding it gives what following the log gave.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from apikeyrouter.domain.events import Event, Recorded


class Rule(StrEnum):
    """What becomes of a column when a later event tells it again."""

    First = "first"
    Last = "last"
    Sum = "sum"
    Least = "least"
    Greatest = "greatest"


class Column(NamedTuple):
    """A column's type, and its rule."""

    type: type[int] | type[str] | type[float]
    rule: Rule = Rule.First


class CallPath(NamedTuple):
    """Who went through what: the words by which reports group calls, each stored once under a number."""

    client_id: str | None
    team: str | None
    operation: str
    objective: str | None
    model: str
    provider_id: str | None = None
    key_id: str | None = None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table by its columns and its key; a column `path_id` refers to a `CallPath`.

    `appends` says that every row is told once; a second one of the same key is an error then, not a merger.
    """

    name: str
    columns: dict[str, Column]
    key: tuple[str, ...] = ("position",)
    appends: bool = True

    def writing(self, *columns: str) -> "Writing":
        """Name the columns that one kind of change tells; all, if none are named."""
        return Writing(table=self, columns=columns or tuple(self.columns))


class Writing(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One kind of change to a table: its values are told in the order of `columns`.

    Changes of one kind are written together and in order, those of different kinds in any order: so a
    column whose rule minds the order is told by one kind alone.
    """

    table: Table
    columns: tuple[str, ...]


Change = tuple[Writing, tuple[Any, ...]]
Projection = Callable[[Recorded, Any], Iterable[Change]]
"""A pure function from an event with its place, and that event by its own type, to changes."""


class ReadModel(msgspec.Struct, frozen=True, kw_only=True):
    """Tables that belong together, and the pure functions from events to their rows.

    Raise `version` whenever a function tells something else than before: stored rows are made anew then.
    """

    name: str
    about: str
    tables: tuple[Table, ...]
    projections: dict[type[Event], Projection]
    version: int = 1
