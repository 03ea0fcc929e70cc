"""Verify a log against its seals: nothing changed, put in, taken out, cut off or rolled back."""

from collections.abc import Callable, Iterable

import msgspec

from apikeyrouter.application.proof.attestation import Attestation, opened
from apikeyrouter.application.proof.differences import Differences
from apikeyrouter.application.proof.dropped import Dropped
from apikeyrouter.application.proof.findings import Finding, Trouble, in_order
from apikeyrouter.application.proof.ports import Extent, Rows, Seals, SignedBy
from apikeyrouter.domain.models.system_error import LogUnavailableError
from apikeyrouter.domain.proof.checkpoints import Checkpoint
from apikeyrouter.domain.proof.leaves import MalformedRowError, row_hash
from apikeyrouter.domain.proof.merkle import HASH_BYTES, Frontier
from apikeyrouter.domain.proof.notes import NoteError, VerifierKey

PAGE_ROWS = 2000
_BLAMED_ON_ROWS = {
    Trouble.Changed,
    Trouble.Swapped,
    Trouble.Moved,
    Trouble.Inserted,
    Trouble.Deleted,
    Trouble.Rewritten,
}


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found. `unsealed` events are behind the latest checkpoint: nothing vouches yet.

    `different` counts the rows that are not what was sealed; only the first of them are explained. `dropped`
    positions are rightly missing: events say in which segments they were archived. `segments` counts those
    that were verified too, None if nobody asked for it.
    """

    origin: str
    events: int
    sealed: int
    unsealed: int
    checkpoints: int
    different: int
    findings: tuple[Finding, ...]
    dropped: int = 0
    segments: int | None = None

    @property
    def intact(self) -> bool:
        """True if nothing is wrong."""
        return not self.findings

    @property
    def first_bad(self) -> int | None:
        """The first position at which anything is wrong."""
        return next((finding.position for finding in self.findings), None)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a log is verified by: its rows, its seals, its key, and checkpoints that were kept elsewhere."""

    rows: Rows
    seals: Seals
    key: VerifierKey
    signed_by: SignedBy
    kept: tuple[bytes, ...] = ()


def verify(evidence: Evidence, seen: Callable[[int], None] = lambda _position: None) -> Verdict:
    """Compare every row with its seal, and the seals with every checkpoint; `seen` is told how far it is."""
    was_closed = evidence.seals.closed
    attested = Attestation(evidence.seals, evidence.key, evidence.signed_by)
    attested.read(evidence.seals.notes())
    try:
        extent = evidence.rows.extent()
    except LogUnavailableError as error:
        return _unreadable(evidence, attested, error.message)
    covered = attested.latest.size if attested.latest is not None else 0
    dropped = dropped_from(evidence)
    count = min(covered, evidence.seals.count)
    differences = Differences(count, evidence.seals.hashes, unaccounted=dropped.unaccounted)
    findings = [*_compared(evidence.rows, differences, seen)]
    findings += attested.findings
    findings += _ending(extent, differences, covered, closed=was_closed and evidence.seals.closed)
    findings += _remembered(evidence, attested, extent)
    findings += [Finding(Trouble.Damaged, None, detail) for detail in evidence.rows.damage()]
    if attested.latest is None:
        findings.append(
            Finding(Trouble.SealsMissing, None, "there is no checkpoint that the log's key signed")
        )
    elif differences.different and _rows_are_right(evidence, attested.latest, dropped):
        findings = [_blamed_on_seals(finding) for finding in findings]
    return Verdict(
        origin=evidence.key.name,
        events=differences.rows,
        sealed=covered,
        unsealed=max(0, differences.last - covered),
        checkpoints=attested.count,
        different=differences.different,
        findings=in_order(findings),
        dropped=dropped.positions.count,
    )


def dropped_from(evidence: Evidence) -> Dropped:
    """Read which positions may be missing, as far as the latest checkpoint vouches for it."""

    def covered() -> int:
        try:
            note = evidence.seals.latest()
            size = (
                0 if note is None else opened(note.render().encode(), evidence.key, evidence.signed_by).size
            )
        except NoteError:
            size = 0
        return min(size, evidence.seals.count)

    return Dropped(evidence.rows, evidence.seals, evidence.key, evidence.signed_by, covered)


def _unreadable(evidence: Evidence, attested: Attestation, reason: str) -> Verdict:
    return Verdict(
        origin=evidence.key.name,
        events=0,
        sealed=attested.latest.size if attested.latest is not None else 0,
        unsealed=0,
        checkpoints=attested.count,
        different=0,
        findings=in_order([*attested.findings, Finding(Trouble.Unreadable, None, reason)]),
    )


def _compared(rows: Rows, differences: Differences, seen: Callable[[int], None]) -> Iterable[Finding]:
    unreadable: list[Finding] = []
    try:
        for page in rows.pages(most=PAGE_ROWS):
            differences.feed(page)
            seen(differences.last)
    except LogUnavailableError as error:
        at = differences.last + 1
        unreadable.append(Finding(Trouble.Unreadable, at, f"position {at}: {error.message}"))
    return [*differences.findings(), *unreadable]


def _ending(extent: Extent, differences: Differences, covered: int, *, closed: bool) -> Iterable[Finding]:
    """Say what is wrong with the end of the log: cut off, of an older file, or written by nobody we know."""
    last = extent.last
    if last < covered:
        yield ending_too_soon(extent, covered)
    elif last > covered and closed and differences.last > covered:
        yield appended(covered, last)


def ending_too_soon(extent: Extent, covered: int) -> Finding:
    """Say that the log ends before what was sealed, and which way it got there."""
    at, last = extent.last + 1, extent.last
    if extent.last_ever > last:
        detail = f"the log ends at {last}, but {covered} events were sealed: its end was cut off"
        return Finding(Trouble.Truncated, at, detail)
    detail = (
        f"the log ends at {last}, but {covered} events were sealed: it is an older file, or was cut to one"
    )
    return Finding(Trouble.RolledBack, at, detail)


def appended(covered: int, last: int) -> Finding:
    """Say that events were written while no process of ours had the log open."""
    detail = f"{last - covered} events were written behind {covered}, where the log was closed in good order"
    return Finding(Trouble.Appended, covered + 1, detail)


def _remembered(evidence: Evidence, attested: Attestation, extent: Extent) -> Iterable[Finding]:
    """Compare with checkpoints that were kept where nobody who writes here can change them."""
    covered = attested.latest.size if attested.latest is not None else 0
    for data in evidence.kept:
        try:
            kept = opened(data, evidence.key, evidence.signed_by)
        except NoteError as error:
            yield Finding(Trouble.CheckpointForged, None, f"a checkpoint that was kept elsewhere: {error}")
            continue
        if kept.size > extent.last:
            yield ending_too_soon(extent, kept.size)
        elif kept.size > covered:
            detail = f"a checkpoint over {kept.size} events was kept elsewhere, the seals know {covered}"
            yield Finding(Trouble.SealsChanged, covered + 1, detail)
        elif not _agrees(evidence.seals, kept):
            detail = f"the first {kept.size} events are not those of a checkpoint that was kept elsewhere"
            yield Finding(Trouble.Rewritten, 1, detail)


def _agrees(seals: Seals, kept: Checkpoint) -> bool:
    return seals.count >= kept.size and seals.subtree(0, kept.size) == kept.root


def _rows_are_right(evidence: Evidence, checkpoint: Checkpoint, dropped: Dropped) -> bool:
    """Tell whether the rows, other than their sealed hashes, are those that were signed."""
    frontier = Frontier()
    try:
        for page in evidence.rows.pages(1, checkpoint.size, most=PAGE_ROWS):
            for row in page:
                if not _filled(frontier, row.position, evidence, dropped):
                    return False
                frontier.append(row_hash(row))
    except (MalformedRowError, LogUnavailableError):
        return False
    return frontier.size == checkpoint.size and frontier.root() == checkpoint.root


def _filled(frontier: Frontier, position: int, evidence: Evidence, dropped: Dropped) -> bool:
    """Put the sealed hashes of dropped positions where their rows would be."""
    first, last = frontier.size + 1, position - 1
    if first > last:
        return True
    if dropped.unaccounted(first, last):
        return False
    hashes = evidence.seals.hashes(first - 1, last)
    frontier.extend(hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES))
    return True


def _blamed_on_seals(finding: Finding) -> Finding:
    """Say of what the rows are not to blame for that the hashes beside them are."""
    if finding.trouble not in _BLAMED_ON_ROWS:
        return finding
    detail = f"position {finding.position}: its sealed hash was changed, the event is what was signed"
    return Finding(Trouble.SealsChanged, finding.position, detail)
