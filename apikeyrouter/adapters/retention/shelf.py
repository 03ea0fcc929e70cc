"""The shelf of a running node: it lays segments beside its log, and takes their rows out of it."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from apikeyrouter.adapters.eventlog.sqlite_log import SqliteLog
from apikeyrouter.adapters.proof.signing import NoteSigner
from apikeyrouter.adapters.retention.segment_folder import (
    compare_with_checkpoint,
    compare_with_log,
    compare_with_seals,
    file_digest,
    forget_cached,
    names_in,
    read_segment,
    segment_folder_beside,
    write_segment,
)
from apikeyrouter.application.proof.attestation import opened
from apikeyrouter.application.proof.proving import latest
from apikeyrouter.application.proof.verification import Evidence
from apikeyrouter.application.retention.ports import Laid
from apikeyrouter.domain.events import SegmentDropped
from apikeyrouter.domain.models.system_error import ConflictError
from apikeyrouter.domain.positions import Positions, Run
from apikeyrouter.domain.retention import statement_of


class SegmentShelf:
    """Implements `Shelf` for a log in a file. `signer` opens the log's key when it is needed."""

    def __init__(
        self,
        log: SqliteLog,
        log_path: Path,
        evidence: Callable[[], Evidence],
        signer: Callable[[], NoteSigner],
    ) -> None:
        self._log = log
        self._folder = segment_folder_beside(log_path)
        self._evidence = evidence
        self._signer = signer

    @property
    def sealed(self) -> int:
        """How many events the latest checkpoint covers."""
        evidence = self._evidence()
        note = latest(evidence.seals).note
        return opened(note.render().encode(), evidence.key, evidence.signed_by).size

    def names(self, folder: Path | None = None) -> list[str]:
        """Return the segments that lie in the folder."""
        return names_in(folder or self._folder)

    def lay(self, positions: Positions, folder: Path | None = None) -> Laid:
        """Write a segment, then read it from the disk and compare it with the log and its seals."""
        evidence = self._evidence()
        path = write_segment(evidence.rows, evidence.seals, self._signer(), positions, folder or self._folder)
        try:
            return _read_back(path, positions, evidence)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def take_back(self, name: str, folder: Path | None = None) -> None:
        """Remove a segment that no event tells of."""
        ((folder or self._folder) / name).unlink(missing_ok=True)

    def signed(self, told: SegmentDropped) -> SegmentDropped:
        """Sign what an event says."""
        signer = self._signer()
        signature = signer.signature(statement_of(signer.key.name, told)).signature
        return msgspec.structs.replace(told, signature=base64.b64encode(signature).decode())

    async def remove(self, runs: Sequence[Run]) -> None:
        """Delete rows in one transaction."""
        await self._log.remove(runs)

    async def wipe(self) -> bool:
        """Empty the write-ahead file, which holds copies of pages from before."""
        return await self._log.wipe()


def _read_back(path: Path, positions: Positions, evidence: Evidence) -> Laid:
    """Read a segment from the disk, and compare it with the log and its seals."""
    forget_cached(path)
    digest = file_digest(path)
    rows, checkpoint = read_segment(path, evidence.key, digest=digest)
    if Positions((row.position, row.position) for row in rows) != positions:
        raise ConflictError(f"{path.name} does not hold the positions that were chosen")
    compare_with_seals(rows, evidence.seals, path.name)
    compare_with_log(rows, evidence.rows, path.name)
    compare_with_checkpoint(checkpoint, evidence.seals, path.name)
    return Laid(path.name, digest, checkpoint.size, base64.b64encode(checkpoint.root).decode())
