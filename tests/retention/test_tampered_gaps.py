"""Around a recorded gap every other change is found: nobody hides behind what was rightly dropped."""

import contextlib
import json
import sqlite3
import zipfile

import msgspec
import pytest
from retained_logs import settings_of, verdict_of

from apikeyrouter.adapters.proof.opening import evidence_of, open_sealing
from apikeyrouter.adapters.proof.stored_rows import StoredRows
from apikeyrouter.adapters.retention.archive_check import check_archive
from apikeyrouter.adapters.retention.segment_folder import read_segment
from apikeyrouter.application.proof.dropped import Dropped
from apikeyrouter.application.proof.findings import Trouble
from apikeyrouter.application.proof.startup import LogInconsistentError
from apikeyrouter.domain.events import RETENTION_STREAM, canonical_bytes
from apikeyrouter.domain.positions import alternating, runs_of
from apikeyrouter.domain.proof.leaves import StoredRow, row_hash
from apikeyrouter.domain.vocabulary.retention import SegmentDropped

DROPPED = "segment.dropped.v1"


def edit(path, *statements):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(*statement if isinstance(statement, tuple) else (statement,))


def drop_event(path) -> tuple[StoredRow, SegmentDropped]:
    [row] = [row for row in StoredRows(path).of_stream(RETENTION_STREAM) if row.name == DROPPED]
    return row, msgspec.json.decode(row.state, type=SegmentDropped)


def kept_within(path) -> list[StoredRow]:
    """Return rows between the first and the last dropped position that were kept."""
    _, told = drop_event(path)
    return [row for page in StoredRows(path).pages(told.first, told.last) for row in page]


def forge(path, told: SegmentDropped, *, in_seals: bool = False) -> int:
    """Put another event in the place of the one that records the drop; return its position."""
    row, _ = drop_event(path)
    forged = row._replace(state=canonical_bytes(told))
    edit(path, ("UPDATE stored_events SET state = ? WHERE notification_id = ?", (forged.state, row.position)))
    if in_seals:
        reseal(path, forged)
    return row.position


def reseal(path, row: StoredRow) -> None:
    """Write the hash of a row where its seal is; nobody without the key can sign a checkpoint over it."""
    with (path.with_name("log.db.seals") / "leaves").open("r+b") as leaves:
        leaves.seek((row.position - 1) * 32)
        leaves.write(row_hash(row))


def wider(told: SegmentDropped, *positions: int) -> SegmentDropped:
    """Let an event say that more positions were dropped."""
    have = [at for first, last in runs_of(told.first, told.runs) for at in range(first, last + 1)]
    together = sorted({*have, *positions})
    return msgspec.structs.replace(
        told,
        first=together[0],
        last=together[-1],
        events=len(together),
        runs=alternating(together),
    )


def first_finding(path):
    verdict = verdict_of(path)
    assert not verdict.intact
    return verdict.findings[0].trouble, verdict.findings[0].position


def refused_at_start(path) -> bool:
    try:
        sealing = open_sealing(settings_of(path))
    except LogInconsistentError:
        return True
    sealing.book.close()
    return False


class TestRowsAroundTheGap:
    def test_an_intact_log_has_no_finding(self, log):
        """The gap itself is none, at the start neither."""
        assert verdict_of(log).intact
        assert not refused_at_start(log)
        assert len(kept_within(log)) >= 1

    def test_one_event_more_is_missing_in_the_dropped_range(self, log):
        """A row that was kept among dropped ones is missed."""
        position = kept_within(log)[0].position
        edit(log, f"DELETE FROM stored_events WHERE notification_id = {position}")
        assert first_finding(log) == (Trouble.Deleted, position)
        assert refused_at_start(log)

    def test_one_event_is_missing_before_it(self, log):
        _, told = drop_event(log)
        edit(log, f"DELETE FROM stored_events WHERE notification_id = {told.first - 1}")
        assert first_finding(log) == (Trouble.Deleted, told.first - 1)
        assert refused_at_start(log)

    def test_one_event_is_missing_behind_it(self, log):
        _, told = drop_event(log)
        edit(log, f"DELETE FROM stored_events WHERE notification_id = {told.last + 1}")
        assert first_finding(log) == (Trouble.Deleted, told.last + 1)
        assert refused_at_start(log)

    def test_a_kept_event_was_changed(self, log):
        position = kept_within(log)[0].position
        edit(log, f"UPDATE stored_events SET state = state || ' ' WHERE notification_id = {position}")
        assert first_finding(log) == (Trouble.Changed, position)

    def test_a_kept_event_was_moved_into_the_gap(self, log):
        row = kept_within(log)[0]
        _, told = drop_event(log)
        free = told.first
        edit(
            log,
            f"UPDATE stored_events SET notification_id = {free} WHERE notification_id = {row.position}",
        )
        assert {one.position for one in verdict_of(log).findings} >= {free, row.position}

    def test_an_event_was_invented_in_the_gap(self, log):
        """A dropped position may be empty or hold what was sealed there, nothing else."""
        _, told = drop_event(log)
        invented = (told.first, "request-invented", 1, "request.decided.v3", b"{}")
        edit(log, ("INSERT INTO stored_events VALUES (?,?,?,?,?)", invented))
        assert first_finding(log) == (Trouble.Changed, told.first)

    def test_what_was_sealed_may_come_back(self, log):
        """A row that is put back as it was is no forgery: its seal says so."""
        [segment] = log.with_name("log.db.segments").iterdir()
        rows, _ = read_segment(segment, evidence_of(settings_of(log), log).key)
        edit(log, ("INSERT INTO stored_events VALUES (?,?,?,?,?)", rows[3]))
        assert verdict_of(log).intact
        assert not refused_at_start(log)

    def test_the_end_was_cut_off(self, log):
        """With the event the gap loses its excuse, and the cut shows at the end too."""
        row, _ = drop_event(log)
        edit(log, f"DELETE FROM stored_events WHERE notification_id >= {row.position}")
        troubles = {one.trouble for one in verdict_of(log).findings}
        assert {Trouble.Deleted, Trouble.Truncated} <= troubles
        assert refused_at_start(log)


class TestTheEvent:
    def test_it_is_missing(self, log):
        """Without the event every dropped position is one that somebody deleted."""
        row, told = drop_event(log)
        edit(log, f"DELETE FROM stored_events WHERE notification_id = {row.position}")
        verdict = verdict_of(log)
        assert {told.first, row.position} <= {one.position for one in verdict.findings}
        assert verdict.dropped == 0
        assert refused_at_start(log)

    def test_it_names_one_position_more(self, log):
        """A changed event excuses nothing at all any more."""
        row, told = drop_event(log)
        more = kept_within(log)[0].position
        forge(log, wider(told, more))
        edit(log, f"DELETE FROM stored_events WHERE notification_id = {more}")
        positions = {one.position for one in verdict_of(log).findings}
        assert {row.position, told.first} <= positions
        assert refused_at_start(log)

    def test_it_is_forged_in_the_seals_too(self, log):
        """The hash can be forged with it, the signature of the log's key cannot."""
        _, told = drop_event(log)
        more = kept_within(log)[0].position
        forge(log, wider(told, more), in_seals=True)
        edit(log, f"DELETE FROM stored_events WHERE notification_id = {more}")
        verdict = verdict_of(log)
        assert told.first in {one.position for one in verdict.findings}
        assert verdict.dropped == 0

    def test_the_signature_alone_decides(self, log):
        """Even where hash and checkpoint fit, an event that the key did not sign excuses nothing."""
        row, told = drop_event(log)
        evidence = evidence_of(settings_of(log), log)

        def dropped(state: bytes) -> int:
            class Rows:
                @staticmethod
                def of_stream(_stream):
                    return [row._replace(state=state)]

            class Seals:
                @staticmethod
                def hashes(_first, _after):
                    return row_hash(row._replace(state=state))

            return Dropped(Rows(), Seals(), evidence.key, evidence.signed_by, lambda: 10**6).positions.count

        assert dropped(row.state) == 48
        assert dropped(canonical_bytes(msgspec.structs.replace(told, sha256="0" * 64))) == 0
        assert dropped(canonical_bytes(msgspec.structs.replace(told, signature=""))) == 0
        assert dropped(canonical_bytes(wider(told, told.last + 1))) == 0
        assert dropped(b"{") == 0

    def test_it_is_not_sealed_yet(self, log):
        """What no checkpoint covers excuses nothing: rows are deleted only behind a checkpoint."""
        row, _ = drop_event(log)
        evidence = evidence_of(settings_of(log), log)

        def covered(size):
            return Dropped(
                evidence.rows, evidence.seals, evidence.key, evidence.signed_by, lambda: size
            ).positions.count

        assert (covered(row.position), covered(row.position - 1)) == (48, 0)

    def test_one_is_added_while_nobody_serves(self, log):
        """An event behind the end, with a gap that it excuses, is found at the start."""
        rows = [row for page in StoredRows(log).pages() for row in page]
        last, row = rows[-1], rows[10]
        _, told = drop_event(log)
        forged = msgspec.structs.replace(
            told, first=row.position, last=row.position, events=1, runs=(1,), segment="segment-none.zip"
        )
        version = max(one.version for one in rows if one.stream == RETENTION_STREAM) + 1
        values = (last.position + 1, RETENTION_STREAM, version, DROPPED, canonical_bytes(forged))
        edit(
            log,
            ("INSERT INTO stored_events VALUES (?,?,?,?,?)", values),
            f"DELETE FROM stored_events WHERE notification_id = {row.position}",
        )
        assert row.position in {one.position for one in verdict_of(log).findings}
        assert refused_at_start(log)

    def test_a_seal_of_a_dropped_row_was_changed(self, log):
        """The hashes of what is gone are still signed for."""
        _, told = drop_event(log)
        with (log.with_name("log.db.seals") / "leaves").open("r+b") as leaves:
            leaves.seek((told.first - 1) * 32)
            leaves.write(b"\x00" * 32)
        assert Trouble.Rewritten in {one.trouble for one in verdict_of(log).findings}


class TestTheArchive:
    @pytest.fixture
    def segment(self, log):
        [path] = log.with_name("log.db.segments").iterdir()
        return path

    def found(self, log):
        evidence = evidence_of(settings_of(log), log)
        count, findings = check_archive(evidence, log.with_name("log.db.segments"))
        assert count == 1
        return [one.trouble for one in findings]

    def test_as_it_was_made(self, log, segment):
        assert segment.stat().st_mode & 0o077 == 0
        assert self.found(log) == []

    def test_it_is_away(self, log, segment):
        segment.unlink()
        assert self.found(log) == [Trouble.ArchiveMissing]

    @pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
    def test_a_byte_was_changed(self, log, segment, part):
        content = bytearray(segment.read_bytes())
        content[int(len(content) * part)] ^= 1
        segment.write_bytes(content)
        assert self.found(log) == [Trouble.ArchiveChanged]

    def test_it_was_cut_off(self, log, segment):
        segment.write_bytes(segment.read_bytes()[:-100])
        assert self.found(log) == [Trouble.ArchiveChanged]

    def test_another_valid_bundle_is_in_its_place(self, log, segment):
        """A bundle of the same log, signed by the same key, is not the segment that was recorded."""
        with zipfile.ZipFile(segment) as archive:
            names = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(segment, "w", zipfile.ZIP_STORED) as archive:
            for name, content in names.items():
                archive.writestr(name, content)
        assert self.found(log) == [Trouble.ArchiveChanged]

    def test_a_request_is_missing_in_it(self, log, segment):
        """Whole requests only: the verifier itself says so, whoever packed it."""
        with zipfile.ZipFile(segment) as archive:
            names = {name: archive.read(name) for name in archive.namelist()}
        lines = names["events.jsonl"].splitlines(keepends=True)
        names["events.jsonl"] = b"".join(lines[:-1])
        with zipfile.ZipFile(segment, "w") as archive:
            for name, content in names.items():
                archive.writestr(name, content)
        assert json.loads(lines[-1])["stream"].startswith("request-")
        assert self.found(log) == [Trouble.ArchiveChanged]
