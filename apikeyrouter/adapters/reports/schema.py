"""Tables of read models as SQL: how they are made, and how changes come into them."""

import hashlib
from typing import TYPE_CHECKING

import msgspec

from apikeyrouter.application.projections.tables import CallPath, ReadModel, Rule, Table, Writing

if TYPE_CHECKING:
    from sqlite_utils import Database

PATHS = "paths"
STANDINGS = "read_models"

_MERGED = {
    Rule.First: "{column} = coalesce({column}, excluded.{column})",
    Rule.Last: "{column} = coalesce(excluded.{column}, {column})",
    Rule.Sum: "{column} = coalesce({column}, 0) + coalesce(excluded.{column}, 0)",
    Rule.Least: (
        "{column} = min(coalesce({column}, excluded.{column}), coalesce(excluded.{column}, {column}))"
    ),
    Rule.Greatest: (
        "{column} = max(coalesce({column}, excluded.{column}), coalesce(excluded.{column}, {column}))"
    ),
}


def create_common_tables(database: "Database") -> None:
    """Make the tables that all read models share: the paths, and where each stands."""
    words = dict.fromkeys(CallPath._fields, str)
    database.table(PATHS).create({"path_id": int, **words}, pk="path_id", if_not_exists=True)
    columns = {"name": str, "version": int, "shape": str, "position": int, "anchor": str}
    database.table(STANDINGS).create(columns, pk="name", if_not_exists=True)


def create_tables(database: "Database", model: ReadModel) -> None:
    """Make the tables of a read model, empty.

    Rows lie in the order of their key, in one tree, and nothing else is indexed: measured, an index of times
    costs a tenth of the speed at which rows are made, and reports over a million events need none.
    """
    for table in model.tables:
        columns = {name: column.type for name, column in table.columns.items()}
        key = table.key[0] if len(table.key) == 1 else table.key
        created = database.create_table_sql(table.name, columns, pk=key).rstrip().removesuffix(";")
        has_number_for_key = len(table.key) == 1 and table.columns[table.key[0]].type is int
        database.execute(created if has_number_for_key else f"{created} WITHOUT ROWID")


def drop_tables(database: "Database", model: ReadModel) -> None:
    """Take the tables of a read model away, whatever shape they have."""
    for table in model.tables:
        database.table(table.name).drop(ignore=True)


def shape_of(model: ReadModel) -> str:
    """Return a hash of what the tables look like, by which stored ones of another shape are known."""
    described = [
        (
            table.name,
            table.key,
            table.appends,
            [(n, c.type.__name__, c.rule) for n, c in table.columns.items()],
        )
        for table in model.tables
    ]
    return hashlib.sha256(msgspec.json.encode(described)).hexdigest()


def statement(writing: Writing) -> str:
    """Return the SQL that takes one change of a kind."""
    table = writing.table
    marks = ", ".join("?" * len(writing.columns))
    insert = f"INSERT INTO {table.name} ({', '.join(writing.columns)}) VALUES ({marks})"
    if table.appends:
        return insert
    merged = [_merged(table, column) for column in writing.columns if column not in table.key]
    action = f"UPDATE SET {', '.join(merged)}" if merged else "NOTHING"
    return f"{insert} ON CONFLICT ({', '.join(table.key)}) DO {action}"


def _merged(table: Table, column: str) -> str:
    return _MERGED[table.columns[column].rule].format(column=column)
