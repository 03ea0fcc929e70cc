"""Verification of real files: the log's rows and structure, its seals, and checkpoints kept elsewhere."""

import asyncio
import shutil

import msgspec
import pytest
from sealed_logs import (
    RowsInMemory,
    all_rows,
    copy_log,
    edit,
    evidence,
    make_log,
    root_of,
    settings_of,
    verdict_of,
)

from apikeyrouter import ApiKeyRouter
from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.proof.durable_files import GrowingFile
from apikeyrouter.adapters.proof.opening import signer_of
from apikeyrouter.adapters.proof.seal_folder import SealFolder
from apikeyrouter.adapters.proof.stored_rows import StoredRows
from apikeyrouter.application.proof.findings import Trouble
from apikeyrouter.application.proof.verification import verify
from apikeyrouter.domain.proof.checkpoints import Checkpoint
from apikeyrouter.domain.proof.leaves import StoredRow, row_hash

MIDDLE = 60


def seals_of(log):
    return log.with_name(f"{log.name}.seals")


def kinds(verdict):
    return {one.trouble for one in verdict.findings}


def flip(path, at):
    """Change one bit of one byte of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


UPDATE = f"UPDATE stored_events SET {{}} WHERE notification_id = {MIDDLE}"
CHANGES = [
    "state = CAST(state || ' ' AS BLOB)",
    "state = CAST(state AS TEXT)",
    "topic = CAST(topic AS BLOB)",
    "topic = x'ff'",
    "topic = CAST(x'ff' AS TEXT)",
    "originator_id = 'x'",
    "originator_version = 1.5",
]


class TestTheStoredRows:
    @pytest.mark.parametrize("change", CHANGES)
    def test_each_column(self, log, change):
        """Whatever changes of one event leads to its position."""
        edit(log, UPDATE.format(change))
        verdict = verdict_of(log)
        assert (verdict.first_bad, verdict.findings[0].trouble) == (MIDDLE, Trouble.Changed)

    def test_a_deleted_row(self, log):
        """A gap is named."""
        edit(log, f"DELETE FROM stored_events WHERE notification_id = {MIDDLE}")
        verdict = verdict_of(log)
        assert [(one.position, one.trouble) for one in verdict.findings] == [(MIDDLE, Trouble.Deleted)]

    def test_a_cut_tail(self, log):
        """The first missing position is named."""
        edit(log, f"DELETE FROM stored_events WHERE notification_id >= {MIDDLE}")
        verdict = verdict_of(log)
        assert [(one.position, one.trouble) for one in verdict.findings] == [(MIDDLE, Trouble.Truncated)]

    def test_swapped_rows(self, log):
        """Two rows that changed positions name each other."""
        edit(
            log,
            f"UPDATE stored_events SET notification_id = 1000000 WHERE notification_id = {MIDDLE}",
            f"UPDATE stored_events SET notification_id = {MIDDLE} WHERE notification_id = {MIDDLE + 5}",
            f"UPDATE stored_events SET notification_id = {MIDDLE + 5} WHERE notification_id = 1000000",
        )
        verdict = verdict_of(log)
        assert [(one.position, one.trouble) for one in verdict.findings] == [
            (MIDDLE, Trouble.Swapped),
            (MIDDLE + 5, Trouble.Swapped),
        ]

    def test_a_cut_that_hides_its_traces(self, log):
        """Setting the counter back makes a cut look like an older file; it is found all the same."""
        edit(
            log,
            f"DELETE FROM stored_events WHERE notification_id >= {MIDDLE}",
            f"UPDATE sqlite_sequence SET seq = {MIDDLE - 1}",
        )
        verdict = verdict_of(log)
        assert (verdict.first_bad, kinds(verdict)) == (MIDDLE, {Trouble.RolledBack})

    def test_an_empty_table(self, log):
        """Everything deleted is a cut at the first position."""
        edit(log, "DELETE FROM stored_events")
        assert verdict_of(log).first_bad == 1

    def test_a_damaged_page(self, log):
        """Where the file itself is broken, the first event that cannot be read is named."""
        state = all_rows(log)[MIDDLE].state
        content = log.read_bytes()
        page = content.index(state) // 8192
        log.write_bytes(content[: page * 8192] + b"\xee" * 8192 + content[(page + 1) * 8192 :])
        verdict = verdict_of(log)
        assert Trouble.Unreadable in kinds(verdict)
        assert 1 < verdict.first_bad <= MIDDLE + 1
        good = all_rows_until(log, verdict.first_bad)
        assert good == verdict.first_bad - 1

    def test_an_index_that_hides_an_event(self, log):
        """Events are asked for by stream through an index: one that leaves out events is found."""
        edit(
            log,
            "CREATE UNIQUE INDEX i ON stored_events (originator_id, originator_version)"
            " WHERE originator_version > 1",
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'i')"
            " WHERE name = 'sqlite_autoindex_stored_events_1'",
            "DELETE FROM sqlite_schema WHERE name = 'i'",
        )
        assert SqliteReader(log).stream("catalogue")[0].version > 1
        assert Trouble.Damaged in kinds(verdict_of(log))

    def test_no_table_at_all(self, log):
        """What cannot be read at all is no intact log."""
        edit(log, "ALTER TABLE stored_events RENAME TO somewhere_else")
        assert kinds(verdict_of(log)) == {Trouble.Unreadable}


def all_rows_until(log, position):
    return sum(len(page) for page in StoredRows(log).pages(1, position - 1))


class TestTheSeals:
    def test_every_byte_of_the_leaves(self, log):
        """A changed hash is found, and it is not the event that is blamed."""
        leaves = seals_of(log) / "leaves"
        for place in range(0, leaves.stat().st_size // 32, 23):
            flip(leaves, place * 32 + place % 32)
            verdict = verdict_of(log)
            assert verdict.findings[0].trouble is Trouble.SealsChanged
            assert place + 1 in {one.position for one in verdict.findings}
            flip(leaves, place * 32 + place % 32)
        assert verdict_of(log).intact

    @pytest.mark.parametrize("name", ["checkpoints", "latest"])
    def test_every_byte_of_the_checkpoints(self, log, name):
        """No byte of a checkpoint can change: each is signed, or is the signature."""
        checkpoints = seals_of(log) / name
        for at in range(0, checkpoints.stat().st_size, 11):
            flip(checkpoints, at)
            assert not verdict_of(log).intact, at
            flip(checkpoints, at)
        assert verdict_of(log).intact

    def test_a_cut_file_of_leaves(self, log):
        """Missing hashes are missed."""
        leaves = seals_of(log) / "leaves"
        leaves.write_bytes(leaves.read_bytes()[: 32 * MIDDLE])
        verdict = verdict_of(log)
        assert (verdict.first_bad, kinds(verdict)) == (MIDDLE + 1, {Trouble.SealsChanged})

    def test_an_older_checkpoint(self, log):
        """Without its latest checkpoints, a log that was closed in good order goes on too long."""
        checkpoints, latest = seals_of(log) / "checkpoints", seals_of(log) / "latest"
        first, *_ = SealFolder(seals_of(log)).notes()
        latest.write_bytes(first)
        assert Trouble.CheckpointForged in kinds(verdict_of(log))
        checkpoints.write_bytes(first + b"\n")
        assert kinds(verdict_of(log)) == {Trouble.Appended}

    def test_a_server_that_is_just_closing(self, sealed, rows):
        """Events that were written while verifying accuse nobody, also if the server has gone by then."""

        class JustClosed(SealFolder):
            asked = 0

            @property
            def closed(self):
                self.asked += 1
                return self.asked > 1

        more = RowsInMemory([*rows, StoredRow(len(rows) + 1, "key-a", 1, "n", b"{}")])
        verdict = verify(msgspec.structs.replace(sealed, rows=more, seals=JustClosed(sealed.seals.folder)))
        assert verdict.intact
        assert verdict.unsealed == 1

    def test_no_checkpoints(self, log):
        """Seals without a signature prove nothing."""
        for name in ("checkpoints", "latest"):
            (seals_of(log) / name).unlink()
        assert Trouble.SealsMissing in kinds(verdict_of(log))

    def test_rewritten_with_all_hashes(self, log):
        """Whoever rewrites the log and all its hashes cannot sign: the range is named."""
        edit(
            log,
            f"UPDATE stored_events SET state = CAST(state || ' ' AS BLOB) WHERE notification_id = {MIDDLE}",
        )
        _rehash(log)
        verdict = verdict_of(log)
        assert (verdict.different, kinds(verdict)) == (0, {Trouble.Rewritten})
        assert 1 <= verdict.first_bad <= MIDDLE

    def test_a_checkpoint_of_another_key(self, log, tmp_path):
        """A signature of anybody else is worth nothing."""
        other = (
            make_log(tmp_path / "other" / "log.db", requests=2)
            if (tmp_path / "other").mkdir() is None
            else None
        )
        shutil.copy(seals_of(other) / "latest", seals_of(log) / "latest")
        assert Trouble.CheckpointForged in kinds(verdict_of(log))


class TestCheckpointsKeptElsewhere:
    def test_they_agree_with_an_intact_log(self, log):
        """Every checkpoint that the log ever signed is part of its history."""
        kept = tuple(SealFolder(seals_of(log)).notes())
        assert verify(_with_kept(log, kept)).intact

    def test_a_roll_back_of_everything(self, log, tmp_path):
        """Log, seals and keys rolled back together look intact; a copy of a checkpoint tells."""
        older = tmp_path / "older"
        older.mkdir()
        old = copy_log(log, older)
        _live_once(log)
        kept = (SealFolder(seals_of(log)).latest().render().encode(),)
        assert verify(_with_kept(log, kept)).intact
        assert verdict_of(old).intact
        verdict = verify(_with_kept(old, kept))
        assert (verdict.first_bad, kinds(verdict)) == (len(all_rows(old)) + 1, {Trouble.RolledBack})

    def test_a_history_that_was_signed_anew(self, log):
        """Even with the signing key, history cannot be changed behind a checkpoint that somebody kept."""
        kept = (SealFolder(seals_of(log)).latest().render().encode(),)
        edit(
            log,
            f"UPDATE stored_events SET state = CAST(state || ' ' AS BLOB) WHERE notification_id = {MIDDLE}",
        )
        root = _rehash(log)
        signer = signer_of(settings_of(log), log)
        text = Checkpoint(signer.key.name, len(all_rows(log)), root).text()
        (seals_of(log) / "latest").write_text(signer.sign(text, 1).render())
        (seals_of(log) / "checkpoints").unlink()
        assert verdict_of(log).intact
        assert kinds(verify(_with_kept(log, kept))) == {Trouble.Rewritten}

    def test_seals_of_yesterday(self, log, tmp_path):
        """Seals that were rolled back alone know less than a checkpoint that was kept."""
        yesterday = tmp_path / "yesterday"
        yesterday.mkdir()
        old = copy_log(log, yesterday)
        _live_once(log)
        kept = (SealFolder(seals_of(log)).latest().render().encode(),)
        shutil.rmtree(seals_of(log))
        shutil.copytree(seals_of(old), seals_of(log))
        (seals_of(log) / "running").touch()
        assert verdict_of(log).intact
        verdict = verify(_with_kept(log, kept))
        assert (verdict.first_bad, kinds(verdict)) == (len(all_rows(old)) + 1, {Trouble.SealsChanged})

    def test_another_name(self, log):
        """A checkpoint of the right key under another name is of another log."""
        signer, latest = signer_of(settings_of(log), log), SealFolder(seals_of(log)).latest()
        text = "apikeyrouter/other\n" + latest.text.partition("\n")[2]
        verdict = verify(_with_kept(log, (signer.sign(text, 1).render().encode(),)))
        assert "another log" in verdict.findings[0].detail

    def test_a_forged_copy(self, log):
        """A copy that the log's key did not sign is no witness."""
        kept = (SealFolder(seals_of(log)).latest().render().replace("\n", "1\n", 1).encode(),)
        assert kinds(verify(_with_kept(log, kept))) == {Trouble.CheckpointForged}


def _with_kept(log, kept):
    return msgspec.structs.replace(evidence(log), kept=kept)


def _live_once(log):
    async def live():
        async with ApiKeyRouter(config=settings_of(log)):
            pass

    asyncio.run(live())


def _rehash(log):
    """Make the files of hashes anew from the rows as they are; return the root."""
    hashes = [row_hash(row) for row in all_rows(log)]
    leaves = GrowingFile(seals_of(log) / "leaves", 0)
    leaves.append(b"".join(hashes))
    subtrees = GrowingFile(seals_of(log) / "subtrees", 0)
    subtrees.append(b"".join(root_of(hashes[at : at + 256]) for at in range(0, len(hashes) - 255, 256)))
    for file in (leaves, subtrees):
        file.sync()
        file.close()
    return root_of(hashes)
