"""The read models' file as a whole: made anew beside the old one, copied, and compared by its contents."""

import contextlib
import fcntl
import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from apikeyrouter.adapters.reports.schema import PATHS
from apikeyrouter.adapters.reports.store import ReadModelFile, unavailable
from apikeyrouter.application.ports import EventReader
from apikeyrouter.application.projections.projector import Progress, catch_up
from apikeyrouter.application.projections.read_models import READ_MODELS
from apikeyrouter.application.projections.tables import CallPath, Table
from apikeyrouter.domain.models.system_error import ConflictError

_UNFINISHED = ".unfinished"


def reports_file(log: Path) -> Path:
    """Name the file of the read models of a log, where nobody names another."""
    return log.with_name(f"{log.name}.reports.db")


def rebuild(reader: EventReader, path: Path, *, progress: Progress = lambda _count: None) -> int:
    """Make the read models anew in a file of their own, and put it in the old one's place when it is whole.

    Whoever reads meanwhile reads the old one; a rebuild that is killed leaves it as it was.
    """
    _sweep(path)
    with _unfinished(path) as made:
        with ReadModelFile(made, disposable=True) as store:
            position = catch_up(reader, store, progress=progress)
        _settle_on_disk(made)
        made.replace(path)
    return position


def fingerprints(store: ReadModelFile) -> dict[str, str]:
    """Return a SHA-256 of the contents of each read model.

    Hashed is a line of JSON for each row, in the order of the key, table after table, with paths in words:
    equal hashes say equal contents, whatever numbers the paths have and wherever rows lie in the file.
    """
    return {model.name: _fingerprint(store, model.tables) for model in READ_MODELS.values()}


def copy_to(store: ReadModelFile, target: Path) -> None:
    """Write a copy without free pages; of equal contents that were made by following the log, equal bytes."""
    if target.exists():
        raise ConflictError(f"{target} exists already: name a file that does not")
    try:
        store.database.execute("VACUUM INTO ?", [str(target)])
    except sqlite3.Error as error:
        raise unavailable(target, error) from error


def _fingerprint(store: ReadModelFile, tables: tuple[Table, ...]) -> str:
    digest, encode = hashlib.sha256(), msgspec.json.Encoder().encode
    for table in tables:
        digest.update(encode([table.name, list(table.columns)]) + b"\n")
        for row in store.database.execute(_select_all(table)):
            digest.update(encode(row) + b"\n")
    return digest.hexdigest()


def _select_all(table: Table) -> str:
    order = ", ".join(f"t.{column}" for column in table.key)
    if "path_id" not in table.columns:
        return f"SELECT * FROM {table.name} t ORDER BY {order}"
    columns = [f"t.{column}" for column in table.columns if column != "path_id"]
    columns += [f"p.{word}" for word in CallPath._fields]
    rows = f"{table.name} t LEFT JOIN {PATHS} p USING (path_id)"
    return f"SELECT {', '.join(columns)} FROM {rows} ORDER BY {order}"


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """Name a file beside the read models, locked while it is made so that nobody sweeps it away."""
    made = path.with_name(f"{path.name}.{secrets.token_hex(8)}{_UNFINISHED}")
    descriptor = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield made
    finally:
        made.unlink(missing_ok=True)
        os.close(descriptor)


def _sweep(path: Path) -> None:
    """Remove what rebuilds left that were killed."""
    for left in path.parent.glob(f"{path.name}.*{_UNFINISHED}"):
        with contextlib.suppress(OSError):
            descriptor = os.open(left, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
            finally:
                os.close(descriptor)


def _settle_on_disk(made: Path) -> None:
    descriptor = os.open(made, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
