"""Compare the sealed hashes with the checkpoints that were signed over them."""

from collections.abc import Iterable

from apikeyrouter.application.proof.findings import Finding, Trouble
from apikeyrouter.application.proof.ports import Seals, SignedBy
from apikeyrouter.domain.proof.checkpoints import Checkpoint, parse_checkpoint
from apikeyrouter.domain.proof.merkle import HASH_BYTES, Frontier
from apikeyrouter.domain.proof.notes import COSIGNATURE, NoteError, VerifierKey, parse_note

MOST_LISTED = 20
_CHUNK = 4096


class Attestation:
    """What the checkpoints say, read one after the other; sizes only grow."""

    def __init__(self, seals: Seals, key: VerifierKey, signed_by: SignedBy) -> None:
        self.latest: Checkpoint | None = None
        self.count = 0
        self.findings: list[Finding] = []
        self._seals = seals
        self._key = key
        self._signed_by = signed_by
        self._grown = Frontier()
        self._good = 0

    def read(self, notes: Iterable[bytes]) -> None:
        """Check every checkpoint: its form, its signature, its root."""
        for data in notes:
            self.count += 1
            try:
                checkpoint = opened(data, self._key, self._signed_by)
            except NoteError as error:
                self._complain(Trouble.CheckpointForged, self._good + 1, f"checkpoint {self.count}: {error}")
                continue
            self._compare(checkpoint)

    def _compare(self, checkpoint: Checkpoint) -> None:
        known = self.latest.size if self.latest is not None else 0
        if checkpoint.size < known:
            shrunk = f"checkpoint {self.count} covers {checkpoint.size} events, one before it {known}"
            self._complain(Trouble.CheckpointForged, checkpoint.size + 1, shrunk)
            return
        self.latest = checkpoint
        self._grow(checkpoint.size)
        if self._grown.size < checkpoint.size:
            cut = f"{self._grown.size} hashes are left of {checkpoint.size}"
            self._complain(Trouble.SealsChanged, self._grown.size + 1, cut)
        elif self._grown.root() == checkpoint.root:
            self._good = checkpoint.size
        else:
            between = f"between {self._good + 1} and {checkpoint.size}"
            self._complain(Trouble.Rewritten, self._good + 1, f"events were rewritten {between}")

    def _grow(self, size: int) -> None:
        while self._grown.size < size:
            after = min(size, self._grown.size + _CHUNK)
            hashes = self._seals.hashes(self._grown.size, after)
            self._grown.extend(hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES))
            if self._grown.size < after:
                return

    def _complain(self, trouble: Trouble, position: int, detail: str) -> None:
        if len(self.findings) < MOST_LISTED:
            self.findings.append(Finding(trouble, position, detail))


def opened(data: bytes, key: VerifierKey, signed_by: SignedBy) -> Checkpoint:
    """Return a checkpoint that the log's key has signed and dated; raises `NoteError` for anything else."""
    note = parse_note(data)
    if not (signed_by(note, key) and signed_by(note, key._replace(algorithm=COSIGNATURE))):
        raise NoteError(f"it bears no valid signature of {key.name}")
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != key.name:
        raise NoteError(f"it is of another log, {checkpoint.origin:.80}")
    return checkpoint
