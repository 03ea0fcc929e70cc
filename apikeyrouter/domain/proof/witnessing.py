"""What a witness does (c2sp.org/tlog-witness): cosign a checkpoint that follows on the last one it cosigned.

The request is text: the old size, a consistency proof, an empty line, the checkpoint. Whoever asks proves
that the log only grew since; the witness keeps nothing but the last size and root of each log.
"""

import base64
import re
from typing import NamedTuple

from apikeyrouter.domain.proof.checkpoints import Checkpoint, parse_checkpoint
from apikeyrouter.domain.proof.merkle import EMPTY_ROOT, HASH_BYTES, consistency_holds
from apikeyrouter.domain.proof.notes import Note, NoteError, parse_note, strict_base64

MOST_STEPS = 63
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)


class Submission(NamedTuple):
    """A checkpoint handed to a witness, and the proof that it follows on an older one."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note
    checkpoint: Checkpoint

    def render(self) -> str:
        """Return the request's body."""
        steps = "".join(f"{base64.b64encode(step).decode()}\n" for step in self.proof)
        return f"old {self.old_size}\n{steps}\n{self.note.render()}"


class Seen(NamedTuple):
    """What a witness remembers of a log: the last checkpoint that it cosigned."""

    size: int = 0
    root: bytes = EMPTY_ROOT


class Refusal(NamedTuple):
    """Why a checkpoint is not cosigned; `status` is the one that the protocol prescribes."""

    status: int
    reason: str


def parse_submission(body: bytes) -> Submission:
    """Read the body of a request; raises `NoteError`."""
    head, blank, note_bytes = body.partition(b"\n\n")
    try:
        first, *steps = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise NoteError("the proof is ASCII") from None
    old = _OLD.fullmatch(first)
    if not blank or old is None or len(steps) > MOST_STEPS:
        raise NoteError(
            f"a submission is an old size, at most {MOST_STEPS} hashes, an empty line, a checkpoint"
        )
    proof = tuple(map(strict_base64, steps))
    if any(len(step) != HASH_BYTES for step in proof):
        raise NoteError(f"a hash has {HASH_BYTES} bytes")
    note = parse_note(note_bytes)
    checkpoint = parse_checkpoint(note.text)
    if int(old[1]) > checkpoint.size:
        raise NoteError("the old size is larger than the checkpoint")
    return Submission(int(old[1]), proof, note, checkpoint)


def judge(submission: Submission, seen: Seen) -> Refusal | None:
    """Return why a checkpoint must not be cosigned after what was seen; None if it may."""
    checkpoint = submission.checkpoint
    if submission.old_size != seen.size:
        return Refusal(409, str(seen.size))
    if checkpoint.size == seen.size and checkpoint.root != seen.root:
        return Refusal(409, str(seen.size))
    old_root, root = seen.root, checkpoint.root
    if not consistency_holds(seen.size, checkpoint.size, submission.proof, old_root, root):
        return Refusal(422, "the log is not what it was: the proof does not lead from the last checkpoint")
    return None
