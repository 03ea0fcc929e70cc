"""Look at a log before anything is appended: cheap enough for every start, whatever the log's length.

The ends, the number of rows, the last rows and the root over all sealed hashes are compared; every single row
is left to `verify`, and to the patrol that follows a start.
"""

from apikeyrouter.application.proof.attestation import opened
from apikeyrouter.application.proof.differences import Differences
from apikeyrouter.application.proof.dropped import Dropped
from apikeyrouter.application.proof.findings import Finding, Trouble, in_order
from apikeyrouter.application.proof.ports import Extent
from apikeyrouter.application.proof.verification import Evidence, appended, dropped_from, ending_too_soon
from apikeyrouter.domain.models.system_error import ErrorCategory, SystemError  # noqa: A004 - published name
from apikeyrouter.domain.proof.checkpoints import Checkpoint
from apikeyrouter.domain.proof.notes import NoteError

TAIL_ROWS = 500


class LogInconsistentError(SystemError):
    """The log is not what was sealed; nothing is appended to it."""

    category = ErrorCategory.AuditUnavailable
    code = "log_inconsistent"
    http_status = 503


def refuse_if_inconsistent(evidence: Evidence) -> None:
    """Raise `LogInconsistentError` if the log or its seals were visibly tampered with."""
    findings = look(evidence)
    if findings:
        raise LogInconsistentError(
            f"the event log is not what was sealed, so nothing is appended to it: {findings[0].detail}."
            " Look closer with `apikeyrouter verify`, and bring back the log and its seals as they belong"
            " together (docs/proof.md tells how)"
        )


def look(evidence: Evidence) -> tuple[Finding, ...]:
    """Return what a quick look finds."""
    extent = evidence.rows.extent()
    try:
        note = evidence.seals.latest()
        if note is None:
            gone = "its seals are gone, or in another folder than APIKEYROUTER_SEAL_FOLDER names"
            return (Finding(Trouble.SealsMissing, None, gone),)
        checkpoint = opened(note.render().encode(), evidence.key, evidence.signed_by)
    except NoteError as error:
        return (Finding(Trouble.CheckpointForged, None, f"the latest checkpoint: {error}"),)
    seals = evidence.seals
    if seals.subtree(0, checkpoint.size) != checkpoint.root:
        changed = f"the sealed hashes are not those that the checkpoint over {checkpoint.size} was signed for"
        return (Finding(Trouble.SealsChanged, None, changed),)
    dropped = dropped_from(evidence)
    findings = _ends(evidence, extent, checkpoint.size, dropped)
    return in_order([*findings, *_last_rows(evidence, extent, checkpoint, dropped)])


def _ends(evidence: Evidence, extent: Extent, covered: int, dropped: Dropped) -> list[Finding]:
    findings = []
    if extent.last < covered:
        findings.append(ending_too_soon(extent, covered))
    elif extent.last > covered and evidence.seals.closed:
        findings.append(appended(covered, extent.last))
    if extent.rows and (extent.first != 1 or extent.rows + _gone(evidence, extent, dropped) != extent.last):
        told = f", {dropped.positions.count} were dropped" if dropped.positions else ""
        detail = (
            f"{extent.rows} rows stand at positions {extent.first} to {extent.last}{told}: some are missing"
        )
        findings.append(Finding(Trouble.Deleted, None, detail))
    return findings


def _gone(evidence: Evidence, extent: Extent, dropped: Dropped) -> int:
    """Count the dropped rows that are gone already: a crash may have come in between."""
    if extent.rows + dropped.positions.count == extent.last:
        return dropped.positions.count
    runs = dropped.positions.runs()
    return sum(last - first + 1 - evidence.rows.count(first, last) for first, last in runs)


def _last_rows(evidence: Evidence, extent: Extent, checkpoint: Checkpoint, dropped: Dropped) -> list[Finding]:
    last = min(extent.last, checkpoint.size)
    first = max(1, last - TAIL_ROWS + 1)
    differences = Differences(
        checkpoint.size, evidence.seals.hashes, first=first, unaccounted=dropped.unaccounted
    )
    for page in evidence.rows.pages(first, last):
        differences.feed(page)
    return list(differences.findings())
