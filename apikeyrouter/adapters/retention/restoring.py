"""Make a whole log of one that requests have left, and of the segments that they were archived in."""

import contextlib
import heapq
import shutil
import sqlite3
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import msgspec

from apikeyrouter.adapters.eventlog.connections import PAGE_BYTES
from apikeyrouter.adapters.eventlog.recorder import APPLICATION_ID, CREATE_EVENTS_TABLE
from apikeyrouter.adapters.eventlog.writer import insert_sql
from apikeyrouter.adapters.proof.durable_files import OWNER_ONLY, sync_file, sync_folder
from apikeyrouter.adapters.proof.seal_folder import LEVEL, VERIFIER_KEY, SealFolder, seal_folder_beside
from apikeyrouter.adapters.proof.signing_key import signing_key_path
from apikeyrouter.adapters.proof.stored_rows import StoredRows
from apikeyrouter.adapters.retention.archive_check import rows_of
from apikeyrouter.adapters.retention.whole_log import clusters
from apikeyrouter.application.proof.proving import latest
from apikeyrouter.application.proof.verification import Evidence, dropped_from, verify
from apikeyrouter.domain.models.system_error import ConflictError, InvalidRequestError
from apikeyrouter.domain.proof.leaves import StoredRow
from apikeyrouter.domain.proof.merkle import HASH_BYTES
from apikeyrouter.domain.retention import Segment
from apikeyrouter.limits import MOST_BATCH_EVENTS


class Restored(msgspec.Struct, frozen=True):
    """What was made: how many events in all, how many of them came back, which segments are still away."""

    events: int
    restored: int
    away: tuple[str, ...]


def restore(evidence: Evidence, log_path: Path, files: list[Path], into: Path) -> Restored:
    """Write every sealed event into a new file, archived ones in their places, with the seals beside it.

    The result is verified like any log. Nothing is left where that fails.
    """
    made = [into, seal_folder_beside(into), signing_key_path(into)]
    for path in made:
        if path.exists():
            raise InvalidRequestError(f"{path} exists already: name another file", param="into")
    segments = dropped_from(evidence).look()
    wanted = _matched(segments, files)
    try:
        size = _copy_seals(evidence, log_path, into)
        restored = sum(segment.told.events for segment, _ in wanted)
        events = _write_rows(evidence, wanted, size, into)
        _verify(evidence, into)
    except BaseException:
        _remove(made)
        raise
    away = tuple(one.name for one in segments if one.name not in {segment.name for segment, _ in wanted})
    return Restored(events, restored, away)


def _matched(segments: list[Segment], files: list[Path]) -> list[tuple[Segment, Path]]:
    """Find the events that record the files, by name."""
    by_name = {segment.name: segment for segment in segments}
    unknown = [file.name for file in files if file.name not in by_name]
    if unknown:
        raise InvalidRequestError(
            f"the log records no segment {unknown[0][:120]}: `apikeyrouter retention status` names those"
            " that it does",
            param="segment",
        )
    return [(by_name[file.name], file) for file in dict.fromkeys(files)]


def _copy_seals(evidence: Evidence, log_path: Path, into: Path) -> int:
    """Copy what the latest checkpoint covers, and the signing key, which stays sealed; return the size."""
    seals = evidence.seals
    if not isinstance(seals, SealFolder):
        raise ConflictError("the seals of this log are not in a folder")
    target = SealFolder(seal_folder_beside(into))
    target.folder.mkdir(parents=True)
    if seals.checkpoints.exists():
        shutil.copyfile(seals.checkpoints, target.checkpoints)
    sealed = latest(seals)
    size = sealed.checkpoint.size
    target.newest.write_bytes(sealed.note.render().encode())
    _copy_start(seals.leaves, target.leaves, size * HASH_BYTES)
    _copy_start(seals.subtrees, target.subtrees, (size >> LEVEL) * HASH_BYTES)
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(seals.folder / VERIFIER_KEY, target.folder / VERIFIER_KEY)
    if signing_key_path(log_path).exists():
        shutil.copyfile(signing_key_path(log_path), signing_key_path(into))
        signing_key_path(into).chmod(OWNER_ONLY)
    return size


def _copy_start(source: Path, target: Path, count: int) -> None:
    with source.open("rb") as read, target.open("wb") as written:
        while count > 0 and (chunk := read.read(min(count, 1 << 20))):
            written.write(chunk)
            count -= len(chunk)


def _write_rows(evidence: Evidence, wanted: list[tuple[Segment, Path]], size: int, into: Path) -> int:
    paths = {segment.name: path for segment, path in wanted}

    def rows_in(cluster: list[Segment]) -> Iterator[StoredRow]:
        return heapq.merge(*(rows_of(one, paths[one.name], evidence) for one in cluster))

    here = chain.from_iterable(evidence.rows.pages(1, size))
    archived = chain.from_iterable(map(rows_in, clusters(segment for segment, _ in wanted)))
    connection = sqlite3.connect(into, isolation_level=None)
    with contextlib.closing(connection):
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = off")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(CREATE_EVENTS_TABLE)
        connection.execute("BEGIN")
        count = _insert(connection, _once(heapq.merge(here, archived)))
        connection.execute("COMMIT")
    into.chmod(OWNER_ONLY)
    sync_file(into)
    sync_folder(into.parent)
    return count


def _insert(connection: sqlite3.Connection, rows: Iterator[StoredRow]) -> int:
    count, values = 0, list[object]()
    for count, row in enumerate(rows, 1):
        values += row
        if count % MOST_BATCH_EVENTS == 0:
            connection.execute(insert_sql(MOST_BATCH_EVENTS), values)
            values = []
    if values:
        connection.execute(insert_sql(len(values) // len(StoredRow._fields)), values)
    return count


def _once(rows: Iterator[StoredRow]) -> Iterator[StoredRow]:
    """Leave out rows that come twice: while a segment is being deleted, they are in the log as well."""
    position = 0
    for row in rows:
        if row.position != position:
            yield row
        position = row.position


def _verify(evidence: Evidence, into: Path) -> None:
    made = msgspec.structs.replace(
        evidence, rows=StoredRows(into), seals=SealFolder(seal_folder_beside(into)), kept=()
    )
    verdict = verify(made)
    if not verdict.intact:
        raise ConflictError(f"the restored log is not what was sealed: {verdict.findings[0].detail}")


def _remove(made: list[Path]) -> None:
    for path in made:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
