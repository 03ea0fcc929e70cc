"""A witness: somebody else's installation, which vouches that a log only grew (c2sp.org/tlog-witness)."""

import threading
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from apikeyrouter.application.notices import notices
from apikeyrouter.application.ports import Clock
from apikeyrouter.application.proof.ports import SignedBy
from apikeyrouter.domain.proof.checkpoints import parse_checkpoint
from apikeyrouter.domain.proof.notes import Note, NoteError, Signature, VerifierKey
from apikeyrouter.domain.proof.witnessing import Refusal, Seen, Submission, judge, parse_submission
from apikeyrouter.domain.windows import SECOND_US


class Answer(NamedTuple):
    """What a witness answers: an HTTP status, and cosignature lines or a reason."""

    status: int
    text: str


class Memory(Protocol):
    """Remembers the last checkpoint that was cosigned of each log."""

    def recall(self, origin: str) -> Note | None:
        """Return it; None if there is none."""

    def remember(self, origin: str, note: Note) -> None:
        """Keep it durably in place of the one before."""


class Cosigner(Protocol):
    """Signs for the witness; the private key never leaves it."""

    def cosign(self, text: str, time_s: int) -> Signature:
        """Vouch for a checkpoint at a time, seconds since the epoch."""


class Witness:
    """Cosigns the checkpoints of the logs whose keys it was given, and only such as follow on each other."""

    def __init__(
        self,
        *,
        logs: Mapping[str, VerifierKey],
        memory: Memory,
        cosigner: Cosigner,
        signed_by: SignedBy,
        clock: Clock,
    ) -> None:
        self._logs = logs
        self._memory = memory
        self._cosigner = cosigner
        self._signed_by = signed_by
        self._clock = clock
        self._one_at_a_time = threading.Lock()

    def add_checkpoint(self, body: bytes) -> Answer:
        """Judge one submission; what is cosigned was remembered before."""
        try:
            submission = parse_submission(body)
        except NoteError as error:
            return Answer(400, f"{error}\n")
        key = self._logs.get(submission.checkpoint.origin)
        if key is None:
            return Answer(404, "this log is not known here\n")
        if not self._signed_by(submission.note, key):
            return Answer(403, "no signature of the log's key\n")
        with self._one_at_a_time:
            return self._judged(submission, key)

    def _judged(self, submission: Submission, key: VerifierKey) -> Answer:
        origin, note = submission.checkpoint.origin, submission.note
        refusal = judge(submission, self._seen(origin))
        if refusal is not None:
            self._complain(origin, submission, refusal)
            return Answer(refusal.status, f"{refusal.reason}\n")
        cosigned = self._cosigner.cosign(note.text, self._clock.now_us() // SECOND_US)
        own = tuple(one for one in note.signatures if one.name == key.name)
        self._memory.remember(origin, Note(note.text, (*own, cosigned)))
        return Answer(200, f"{cosigned.line()}\n")

    def _seen(self, origin: str) -> Seen:
        note = self._memory.recall(origin)
        if note is None:
            return Seen()
        checkpoint = parse_checkpoint(note.text)
        return Seen(checkpoint.size, checkpoint.root)

    @staticmethod
    def _complain(origin: str, submission: Submission, refusal: Refusal) -> None:
        notices().warning(
            "checkpoint_refused", origin=origin, size=submission.checkpoint.size, status=refusal.status
        )
