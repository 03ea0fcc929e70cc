"""The sealer alone: what it seals, what it refuses to seal, and the files that it leaves."""

import asyncio
import base64
import threading
from pathlib import Path

import pytest
from sealed_logs import RowsInMemory, root_of

from apikeyrouter.adapters.ambient import SystemClock
from apikeyrouter.adapters.proof import durable_files, seal_folder
from apikeyrouter.adapters.proof.seal_folder import WHOLE, SealFolder
from apikeyrouter.adapters.proof.seal_writer import SealWriter
from apikeyrouter.adapters.proof.signing import NoteSigner, cosigned_at, signed_by
from apikeyrouter.application.proof.sealing import Pace, Sealer
from apikeyrouter.domain.proof.checkpoints import parse_checkpoint
from apikeyrouter.domain.proof.leaves import StoredRow, row_hash
from apikeyrouter.domain.proof.merkle import (
    consistency_holds,
    consistency_proof,
    inclusion_holds,
    inclusion_proof,
)
from apikeyrouter.domain.proof.notes import Note, parse_note

COUNT = 3 * WHOLE + 77
ROWS = [StoredRow(position, "key-a", position, "n", b"{}") for position in range(1, COUNT + 1)]
HASHES = [row_hash(row) for row in ROWS]
SIGNER = NoteSigner("apikeyrouter/test", bytes(32))


@pytest.fixture
def book(tmp_path):
    writer = SealWriter(tmp_path / "seals")
    writer.begin()
    yield writer
    writer.close()


def sealer_of(rows, book, condemned, clock=None):
    return Sealer(
        rows=RowsInMemory(rows),
        book=book,
        signer=SIGNER,
        clock=clock or SystemClock(),
        pace=Pace(60.0, 60.0),
        condemn=condemned.append,
    )


class TestTheFiles:
    @pytest.mark.parametrize("size", [1, WHOLE - 1, WHOLE, WHOLE + 1, 2 * WHOLE, COUNT])
    def test_roots_and_proofs(self, book, size):
        """What is read back from the files makes the roots and proofs of the tree."""
        sealer_of(ROWS[:size], book, []).seal()
        seals = SealFolder(book.folder)
        root = root_of(HASHES[:size])
        assert parse_checkpoint(seals.latest().text).root == root == seals.subtree(0, size)
        for place in range(0, size, 13):
            proof = inclusion_proof(seals.subtree, place, size)
            assert inclusion_holds(HASHES[place], place, size, proof, root)
        for old_size in range(1, size, 31):
            proof = consistency_proof(seals.subtree, old_size, size)
            assert consistency_holds(old_size, size, proof, root_of(HASHES[:old_size]), root)

    def test_in_many_steps(self, book):
        """It is the same however often a checkpoint is made, and by however many processes."""
        for size in (1, 2, 250, 256, 300, 512, 513, COUNT):
            sealer_of(ROWS[:size], book, []).seal()
            book.close()
            book = SealWriter(book.folder)
            book.begin()
            assert (book.count, book.root()) == (size, root_of(HASHES[:size]))
        sizes = [parse_checkpoint(note.decode().partition("\n\n")[0] + "\n").size for note in book.notes()]
        assert sizes == [1, 2, 250, 256, 300, 512, 513, COUNT, COUNT]

    def test_the_signatures(self, book):
        """A checkpoint is signed by the log, and dated by it."""
        sealer_of(ROWS[:5], book, []).seal()
        note = book.latest()
        assert signed_by(note, SIGNER.key)
        assert abs(cosigned_at(note, SIGNER.cosigning_key) - SystemClock().now_us() // 1_000_000) < 60
        other = NoteSigner("apikeyrouter/test", bytes(31) + b"1")
        assert not signed_by(note, other.key)
        assert not signed_by(Note(note.text + "x\n", note.signatures), SIGNER.key)
        assert cosigned_at(Note(note.text + "x\n", note.signatures), SIGNER.cosigning_key) is None

    def test_a_bad_signature_beside_a_good_one(self):
        """A note with one signature of the key that does not verify is rejected whole."""
        good = SIGNER.signature("text\n")
        bad = SIGNER.signature("other\n")
        assert signed_by(Note("text\n", (good,)), SIGNER.key)
        assert not signed_by(Note("text\n", (good, bad)), SIGNER.key)
        assert not signed_by(Note("text\n", (bad, good)), SIGNER.key)

    @pytest.mark.parametrize("place", [0, 1])
    def test_after_a_failed_write(self, book, monkeypatch, place):
        """What a failed append left half written is written over, in either file of hashes."""
        sealer = sealer_of(ROWS, book, [])
        hashes = book._files[place]
        whole = hashes.append

        def torn(content):
            if content:
                whole(content[:31])
                hashes.size -= 31
                raise OSError("no space left")

        monkeypatch.setattr(hashes, "append", torn)
        with pytest.raises(OSError, match="no space"):
            sealer.seal()
        monkeypatch.undo()
        sealer.seal()
        assert SealFolder(book.folder).subtree(0, COUNT) == root_of(HASHES)
        assert parse_checkpoint(book.latest().text).size == COUNT


class TestWhatIsNeverSealed:
    @pytest.mark.parametrize(
        "rows",
        [
            [*ROWS[:9], *ROWS[10:20]],
            [*ROWS[:10], StoredRow(12, "key-a", 12, "n", b"{}")],
            ROWS[5:20],
            [*ROWS[:10], StoredRow(11, "key-a", 11, "n", "{}")],
        ],
    )
    async def test_rows_that_no_log_writes(self, book, rows):
        """A gap or a column of another type condemns the log, and no checkpoint covers it."""
        condemned = []
        await sealer_of(rows, book, condemned).close()
        assert condemned
        seals = SealFolder(book.folder)
        assert seals.latest() is None
        assert not seals.closed

    async def test_it_is_told_and_seals(self, book):
        """Started, it seals at once; closed, it seals the rest."""
        condemned = []
        sealer = sealer_of(ROWS[:10], book, condemned)
        sealer.start()
        async with asyncio.timeout(10):
            while sealer.sealed < 10:
                await asyncio.sleep(0.005)
        sealer._rows.rows = ROWS
        await sealer.close()
        assert (sealer.sealed, condemned) == (COUNT, [])
        assert SealFolder(book.folder).closed


def test_the_key_is_published(book):
    """The public key lies beside the seals as one line."""
    book.publish(SIGNER.key)
    line = (book.folder / "log.vkey").read_text()
    assert line == SIGNER.key.render() + "\n"
    assert base64.b64decode(line.rsplit("+", 1)[1])[1:] == SIGNER.key.public_key


def test_the_log_is_durable_before_its_seal(book, monkeypatch):
    """Commits that a power cut may take are flushed first: seals that know more would accuse the log."""
    steps = []
    rows = RowsInMemory(ROWS[:5])
    rows.make_durable = lambda: steps.append("log")
    sealer = sealer_of(ROWS[:5], book, [])
    sealer._rows = rows
    conclude = book.conclude
    monkeypatch.setattr(
        book, "conclude", lambda note, keep: (steps.append("seal"), conclude(note, keep=keep))
    )
    sealer.seal()
    assert steps == ["log", "seal"]


def test_a_failure_is_told_once(book, monkeypatch, caplog):
    """A full disk fills no log with the same line, and sealing goes on when it is over."""
    sealer = sealer_of(ROWS[:5], book, [])
    with monkeypatch.context() as patched:
        patched.setattr(book, "conclude", _disk_full)
        assert [sealer._attempt(0.0) for _ in range(3)] == [False] * 3
    assert caplog.text.count("sealing_failed") == 1
    assert sealer._attempt(0.0)


def _disk_full(_note, *, keep):
    raise OSError(28, "No space left on device")


def test_closing_while_it_turns_around(book):
    """A close that comes just before the sealer forgets its news is heard all the same."""
    sealer = sealer_of(ROWS[:5], book, [])

    class ClosedMeanwhile(threading.Event):
        def clear(self):
            sealer._closing = True
            super().clear()

    sealer._news = ClosedMeanwhile()
    running = threading.Thread(target=sealer._run, daemon=True)
    running.start()
    running.join(10)
    assert not running.is_alive()


@pytest.mark.parametrize("chunk", [1, 2, 7, 100])
def test_checkpoints_across_chunks(book, monkeypatch, chunk):
    """However the file of checkpoints is read, each comes out whole."""
    for size in (1, 3, 5):
        sealer_of(ROWS[:size], book, []).seal()
    whole = list(book.notes())
    monkeypatch.setattr(seal_folder, "_CHUNK", chunk)
    assert list(book.notes()) == whole
    assert [parse_checkpoint(parse_note(note).text).size for note in whole] == [1, 3, 5, 5]


def test_one_checkpoint_a_minute_is_kept(book, monkeypatch):
    """In between each takes the place of the one before, so that years of sealing stay readable."""
    clock = SystemClock()
    now_us = [0]
    monkeypatch.setattr(clock, "elapsed_us", lambda: now_us[0])
    sealer = sealer_of(ROWS[:5], book, [], clock)
    for second in range(150):
        now_us[0] = second * 1_000_000
        sealer._rows.rows = ROWS[: second + 1]
        sealer.seal()
    sizes = [parse_checkpoint(parse_note(note).text).size for note in book.notes()]
    assert sizes == [1, 61, 121, 150]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux which file a descriptor is")
def test_hashes_are_durable_before_their_checkpoint(book, monkeypatch):
    """A power cut leaves no checkpoint over hashes that it took."""
    synced = []
    fsync = durable_files.os.fsync

    def told(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve().name)
        fsync(descriptor)

    sealer = sealer_of(ROWS, book, [])
    monkeypatch.setattr(durable_files.os, "fsync", told)
    sealer.seal()
    assert synced[:3] == ["leaves", "subtrees", "latest.new"]
