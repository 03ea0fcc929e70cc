"""Prove to somebody who has a checkpoint that an event is in the log, or that the log only grew."""

import base64

import msgspec

from apikeyrouter.application.proof.ports import Rows, Seals
from apikeyrouter.domain.models.system_error import InvalidRequestError, NotFoundError
from apikeyrouter.domain.proof.checkpoints import Checkpoint, parse_checkpoint
from apikeyrouter.domain.proof.leaves import StoredRow, row_hash
from apikeyrouter.domain.proof.merkle import consistency_proof, inclusion_proof
from apikeyrouter.domain.proof.notes import Note


class Sealed(msgspec.Struct, frozen=True):
    """The latest checkpoint: as it was signed, and read."""

    note: Note
    checkpoint: Checkpoint


class InclusionProof(msgspec.Struct, frozen=True, kw_only=True):
    """Where an event's leaf stands, and the path from it to the root of a tree of `size` events (RFC 9162).

    Hashes are base64; `checkpoint` is the signed note whose root the path leads to.
    """

    position: int
    size: int
    leaf_hash: str
    path: tuple[str, ...]
    checkpoint: str


class ConsistencyProof(msgspec.Struct, frozen=True, kw_only=True):
    """What shows that the tree of `old_size` events is the beginning of the one of `size` (RFC 9162)."""

    old_size: int
    size: int
    old_root: str
    path: tuple[str, ...]
    checkpoint: str


def latest(seals: Seals) -> Sealed:
    """Return the latest checkpoint, or say that there is none yet."""
    note = seals.latest()
    if note is None:
        raise NotFoundError("nothing was sealed yet")
    return Sealed(note, parse_checkpoint(note.text))


def prove_event(rows: Rows, seals: Seals, position: int) -> InclusionProof:
    """Prove that the event at a position is in the log."""
    sealed = latest(seals)
    row = sealed_row(rows, position, sealed.checkpoint.size)
    path = inclusion_proof(seals.subtree, position - 1, sealed.checkpoint.size)
    return InclusionProof(
        position=position,
        size=sealed.checkpoint.size,
        leaf_hash=_text(row_hash(row)),
        path=tuple(map(_text, path)),
        checkpoint=sealed.note.render(),
    )


def prove_growth(seals: Seals, old_size: int) -> ConsistencyProof:
    """Prove that what a checkpoint over `old_size` events covered is the beginning of the log as it is."""
    sealed = latest(seals)
    size = sealed.checkpoint.size
    if not 0 <= old_size <= size:
        raise InvalidRequestError(
            f"{old_size} is no size that the log had: {size} are sealed", param="old_size"
        )
    return ConsistencyProof(
        old_size=old_size,
        size=size,
        old_root=_text(seals.subtree(0, old_size)),
        path=tuple(map(_text, consistency_proof(seals.subtree, old_size, size))),
        checkpoint=sealed.note.render(),
    )


def sealed_row(rows: Rows, position: int, size: int) -> StoredRow:
    """Return the row at a position that the checkpoint covers."""
    if not 1 <= position <= size:
        raise NotFoundError(
            f"position {position} is not sealed: the latest checkpoint covers {size} events, and the next"
            " one follows within seconds while the server runs",
            param="position",
        )
    row = next((row for page in rows.pages(position, position) for row in page), None)
    if row is None:
        raise NotFoundError(
            f"the event at position {position} is gone: it was archived (`apikeyrouter retention status`"
            " names the segments that prove it), or look closer with `apikeyrouter verify`"
        )
    return row


def _text(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
