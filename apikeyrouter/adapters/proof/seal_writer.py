"""Add to the seals of a log: hashes as they come, and checkpoints over them. One process at a time."""

from pathlib import Path

from apikeyrouter.adapters.eventlog.lock import WriterLock
from apikeyrouter.adapters.proof.durable_files import GrowingFile, remove, replace, write_new
from apikeyrouter.adapters.proof.seal_folder import LEVEL, VERIFIER_KEY, WHOLE, SealFolder, parts_of
from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.domain.proof.checkpoints import parse_checkpoint
from apikeyrouter.domain.proof.merkle import HASH_BYTES, Frontier, root_over
from apikeyrouter.domain.proof.notes import Note, VerifierKey


class SealWriter(SealFolder):
    """Implements `SealBook`. Holds the folder from construction until `close`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        try:
            folder.mkdir(mode=0o755, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"the folder {folder} for the log's seals cannot be made: {error.strerror}",
                param="seal_folder",
            ) from None
        self._lock = WriterLock(folder / "seals")
        self._files: tuple[GrowingFile, GrowingFile, GrowingFile] | None = None
        self._whole, self._rest = Frontier(), Frontier()
        self._roots: list[bytes] = []

    @property
    def count(self) -> int:
        """How many hashes there are."""
        return super().count if self._files is None else self._whole.size + self._rest.size

    def publish(self, key: VerifierKey) -> None:
        """Leave the public key beside the seals; a copy that is kept elsewhere is worth more."""
        path, line = self.folder / VERIFIER_KEY, key.render().encode() + b"\n"
        if not path.exists() or path.read_bytes() != line:
            replace(path, line)

    def begin(self) -> None:
        """Say that events may be written, and cut what no checkpoint covers."""
        if not self.running.exists():
            write_new(self.running, b"")
        note = self.latest()
        covered = 0 if note is None else parse_checkpoint(note.text).size
        self._whole, self._rest = self.whole(0, covered), Frontier()
        self._files = (
            GrowingFile(self.leaves, covered * HASH_BYTES),
            GrowingFile(self.subtrees, (self._whole.size >> LEVEL) * HASH_BYTES),
            GrowingFile(self.checkpoints, self.end_of_kept()),
        )
        self._grow(self.hashes(self._whole.size, covered))

    def add(self, hashes: bytes) -> None:
        """Append the hashes of the next leaves."""
        leaves, _, _ = self._opened()
        leaves.append(hashes)
        self._grow(hashes)

    def root(self) -> bytes:
        """Return the root over all hashes."""
        return root_over([*self._whole.peaks, *self._rest.peaks])

    def conclude(self, note: Note, *, keep: bool) -> None:
        """Make the hashes durable, then the checkpoint."""
        leaves, subtrees, checkpoints = self._opened()
        leaves.sync()
        subtrees.sync()
        replace(self.newest, note.render().encode())
        if keep:
            checkpoints.append(note.render().encode() + b"\n")
            checkpoints.sync()

    def end(self) -> None:
        """Say that everything is covered."""
        remove(self.running)

    def close(self) -> None:
        """Let another process seal."""
        for file in self._files or ():
            file.close()
        self._files = None
        self._lock.release()

    def _grow(self, hashes: bytes) -> None:
        """Grow the tree, by the root over 256 leaves wherever that many are there: each is hashed once."""
        _, subtrees, _ = self._opened()
        for leaf in parts_of(hashes):
            self._rest.append(leaf)
            if self._rest.size == WHOLE:
                root = self._rest.root()
                self._whole.append_subtree(LEVEL, root)
                self._rest = Frontier()
                self._roots.append(root)
        subtrees.append(b"".join(self._roots))
        self._roots.clear()  # what could not be written is written with the next

    def _opened(self) -> tuple[GrowingFile, GrowingFile, GrowingFile]:
        assert self._files is not None  # noqa: S101 - `begin` comes first
        return self._files
