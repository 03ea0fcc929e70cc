"""Verify segment files against the events that record them, and their rows against the seals."""

from pathlib import Path

from apikeyrouter.adapters.retention.segment_folder import (
    compare_with_checkpoint,
    compare_with_seals,
    read_segment,
)
from apikeyrouter.application.proof.findings import Finding, Trouble
from apikeyrouter.application.proof.verification import Evidence, dropped_from
from apikeyrouter.domain.models.system_error import ConflictError, NotFoundError
from apikeyrouter.domain.positions import Positions
from apikeyrouter.domain.proof.leaves import StoredRow
from apikeyrouter.domain.retention import Segment


def check_archive(evidence: Evidence, folder: Path) -> tuple[int, list[Finding]]:
    """Return how many segments there should be, and what is wrong with any: one finding for each."""
    findings = []
    segments = dropped_from(evidence).look()
    for segment in segments:
        try:
            rows_of(segment, folder / segment.name, evidence)
        except NotFoundError as error:
            findings.append(Finding(Trouble.ArchiveMissing, segment.told.first, error.message))
        except ConflictError as error:
            findings.append(Finding(Trouble.ArchiveChanged, segment.told.first, error.message))
    return len(segments), findings


def rows_of(segment: Segment, path: Path, evidence: Evidence) -> list[StoredRow]:
    """Return the rows of a segment; raises `ConflictError` unless they are what was recorded and sealed."""
    rows, checkpoint = read_segment(path, evidence.key, digest=segment.told.sha256)
    if Positions((row.position, row.position) for row in rows) != segment.positions():
        raise ConflictError(f"{path.name} holds other positions than were recorded")
    compare_with_seals(rows, evidence.seals, path.name)
    compare_with_checkpoint(checkpoint, evidence.seals, path.name)
    return rows
