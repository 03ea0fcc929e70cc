"""The seals of a log: a folder beside its file, or wherever the settings put it.

`leaves` holds 32 bytes for each event, `subtrees` the roots over 256 of them each (so that a proof reads
little), `latest` the latest signed checkpoint, `checkpoints` one a minute and the last of each process, with
an empty line behind each, and `log.vkey` the public key. `running` is there while somebody may write events.
"""

from collections.abc import Iterator
from pathlib import Path

from apikeyrouter.domain.proof.merkle import HASH_BYTES, Frontier
from apikeyrouter.domain.proof.notes import Note, parse_note
from apikeyrouter.limits import MOST_NOTE_BYTES

VERIFIER_KEY = "log.vkey"
LEVEL = 8
WHOLE = 1 << LEVEL
_CHUNK = 1024 * 1024
_END = b"\n\n"
_DASH = "\u2014 ".encode()


def seal_folder_beside(log_path: Path) -> Path:
    """Name the folder of seals that belongs to a log."""
    return log_path.with_name(f"{log_path.name}.seals")


class SealFolder:
    """Implements `Seals`: reads, also beside the process that seals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.leaves = folder / "leaves"
        self.subtrees = folder / "subtrees"
        self.newest = folder / "latest"
        self.checkpoints = folder / "checkpoints"
        self.running = folder / "running"

    @property
    def count(self) -> int:
        """How many hashes there are."""
        return _size_of(self.leaves) // HASH_BYTES

    @property
    def closed(self) -> bool:
        """True if the last one who sealed ended in good order."""
        return not self.running.exists()

    def hashes(self, first: int, after: int) -> bytes:
        """Return the hashes of the leaves `first <= place < after`."""
        return _read(self.leaves, first * HASH_BYTES, (after - first) * HASH_BYTES)

    def subtree(self, first: int, after: int) -> bytes:
        """Return the root over leaves, from the roots over 256 where there are such."""
        return self.grown(first, after).root()

    def grown(self, first: int, after: int) -> Frontier:
        """Return the tree over leaves, ready to grow."""
        frontier = self.whole(first, after) if first % WHOLE == 0 else Frontier()
        frontier.extend(parts_of(self.hashes(first + frontier.size, after)))
        return frontier

    def whole(self, first: int, after: int) -> Frontier:
        """Return the tree over those leaves, from where a subtree begins, that have a root over 256."""
        frontier = Frontier()
        begin, end = first >> LEVEL, after >> LEVEL
        for root in parts_of(_read(self.subtrees, begin * HASH_BYTES, (end - begin) * HASH_BYTES)):
            frontier.append_subtree(LEVEL, root)
        return frontier

    def latest(self) -> Note | None:
        """Return the latest checkpoint; None if there is none. Raises `NoteError`."""
        return parse_note(self.newest.read_bytes()) if self.newest.exists() else None

    def notes(self) -> Iterator[bytes]:
        """Yield the kept checkpoints, what is left behind them if it is no crash's, and the latest one."""
        rest = b""
        for chunk in _chunks(self.checkpoints):
            *parts, rest = (rest + chunk).split(_END)
            if len(parts) % 2:
                rest = parts.pop() + _END + rest
            yield from (_END.join(pair) + b"\n" for pair in zip(parts[::2], parts[1::2], strict=True))
        if rest and self.closed:
            yield rest
        if self.newest.exists():
            yield self.newest.read_bytes()

    def end_of_kept(self) -> int:
        """Return where the last kept checkpoint ends in its file; behind it is what a crash left."""
        size = _size_of(self.checkpoints)
        *parts, rest = _read(self.checkpoints, max(0, size - 2 * MOST_NOTE_BYTES), size).split(_END)
        size -= len(rest)
        while parts and not parts[-1].startswith(_DASH):
            size -= len(parts.pop()) + len(_END)
        return size


def parts_of(hashes: bytes) -> Iterator[bytes]:
    """Yield hashes one by one."""
    return (hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES))


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read(path: Path, first: int, count: int) -> bytes:
    if count <= 0 or not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(first)
        return file.read(count)


def _chunks(path: Path) -> Iterator[bytes]:
    if path.exists():
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
