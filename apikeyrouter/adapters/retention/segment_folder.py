"""Segments as files: bundles of evidence in a folder beside the log, readable by their owner alone."""

import contextlib
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from apikeyrouter.adapters.proof.durable_files import OWNER_ONLY, sync_folder, write_new
from apikeyrouter.adapters.proof.evidence_bundle import archived, bundle_of
from apikeyrouter.adapters.proof.offline import verify as offline
from apikeyrouter.adapters.proof.signing import NoteSigner
from apikeyrouter.application.proof.ports import Rows, Seals
from apikeyrouter.application.proof.subjects import of_segment
from apikeyrouter.domain.models.system_error import ConfigurationError, ConflictError, NotFoundError
from apikeyrouter.domain.positions import Positions
from apikeyrouter.domain.proof.checkpoints import Checkpoint, parse_checkpoint
from apikeyrouter.domain.proof.leaves import StoredRow, row_hash
from apikeyrouter.domain.proof.notes import VerifierKey, parse_note

SUFFIX = ".zip"
_FOLDER_MODE = 0o700


def segment_folder_beside(log_path: Path) -> Path:
    """Name the folder of a log's segments, where nobody names another."""
    return log_path.with_name(f"{log_path.name}.segments")


def names_beside(log_path: Path) -> list[str]:
    """Return the segments that lie beside a log."""
    return names_in(segment_folder_beside(log_path))


def names_in(folder: Path) -> list[str]:
    """Return the segments of a folder."""
    return sorted(path.name for path in folder.glob(f"segment-*{SUFFIX}"))


def write_segment(rows: Rows, seals: Seals, signer: NoteSigner, positions: Positions, folder: Path) -> Path:
    """Make a segment durable in a folder; return its file."""
    files = bundle_of(rows, seals, signer, of_segment(list(positions.each())))
    content = archived(files)
    runs = positions.runs()
    name = f"segment-{runs[0][0]}-{runs[-1][1]}-{sha256(content).hexdigest()[:8]}{SUFFIX}"
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        path = folder / name
        path.unlink(missing_ok=True)  # one that nothing was recorded of, from a run that died
        write_new(path, content, OWNER_ONLY)
        sync_folder(folder.parent)
    except OSError as error:
        raise ConfigurationError(
            f"the segment cannot be written into {folder}: {error.strerror}", param="archive"
        ) from None
    return path


def read_segment(
    path: Path, key: VerifierKey, *, digest: str | None = None
) -> tuple[list[StoredRow], Checkpoint]:
    """Return the rows of a segment that is what its signature says, and the checkpoint that they fit.

    `digest` is the SHA-256 that it must have. Raises `ConflictError` for anything else, `NotFoundError` where
    there is none.
    """
    try:
        found = file_digest(path)
        files = offline.read_bundle(path)
        told = offline.verify(files, key.render())
    except FileNotFoundError:
        raise NotFoundError(f"there is no segment {path}") from None
    except offline.RejectedError as error:
        raise ConflictError(f"{path.name} is no segment of this log: {error}") from None
    except Exception as error:  # noqa: BLE001 - a damaged archive fails in many ways, all of them mean the same
        why = f"{path.name} is damaged ({type(error).__name__}): take another copy of it"
        raise ConflictError(why) from None
    if digest not in {None, found}:
        raise ConflictError(f"{path.name} is not the file that was recorded: its hash is another")
    if told["kind"] != "segment":
        raise ConflictError(f"{path.name} is a bundle about {told['kind']}, no segment")
    checkpoint = parse_checkpoint(parse_note(files[offline.CHECKPOINT]).text)
    return list(rows_in(files)), checkpoint


def rows_in(files: dict[str, bytes]) -> Iterator[StoredRow]:
    """Yield the stored rows of a bundle."""
    for event in offline.read_events(files[offline.EVENTS].decode()):
        state = event.pop("state").encode()
        yield StoredRow(state=state, **event)


def compare_with_seals(rows: list[StoredRow], seals: Seals, name: str) -> None:
    """Refuse rows that are not what was sealed at their positions."""
    for row in rows:
        if row_hash(row) != seals.hashes(row.position - 1, row.position):
            raise ConflictError(f"{name}: position {row.position} is not what was sealed")


def compare_with_log(rows: list[StoredRow], stored: Rows, name: str) -> None:
    """Refuse rows that are not those of the log."""
    by_position = {row.position: row for row in rows}
    first, last = rows[0].position, rows[-1].position
    for page in stored.pages(first, last):
        for row in page:
            if row.position in by_position and by_position.pop(row.position) != row:
                raise ConflictError(f"{name}: position {row.position} is another in the log")
    if by_position:
        raise ConflictError(f"{name}: position {min(by_position)} is not in the log")


def compare_with_checkpoint(checkpoint: Checkpoint, seals: Seals, name: str) -> None:
    """Refuse a checkpoint that the seals do not grow from."""
    if seals.count < checkpoint.size or seals.subtree(0, checkpoint.size) != checkpoint.root:
        raise ConflictError(f"{name}: its checkpoint is not one of this log's")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def forget_cached(path: Path) -> None:
    """Let the next reading come from the disk, where the system can be told so."""
    with contextlib.suppress(AttributeError, OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
