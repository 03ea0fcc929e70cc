"""Checkpoints (c2sp.org/tlog-checkpoint): what a log's tree was at a size, as the text of a signed note."""

import base64
import re
from struct import Struct
from typing import NamedTuple

from apikeyrouter.domain.proof.merkle import EMPTY_ROOT, HASH_BYTES
from apikeyrouter.domain.proof.notes import NoteError, strict_base64

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_MOST_LEAVES = 2**63 - 1
_LEAST_LINES = 3
_TIME = Struct(">Q")


class Checkpoint(NamedTuple):
    """The root of the first `size` events of the log that `origin` names."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint; lines behind the third are signed, and mean nothing here."""
    *lines, rest = text.split("\n")
    if rest or len(lines) < _LEAST_LINES or not all(lines):
        raise NoteError("a checkpoint has at least three lines, none of them empty")
    origin, size, root = lines[:_LEAST_LINES]
    if not _SIZE.fullmatch(size) or int(size) > _MOST_LEAVES:
        raise NoteError("the size of a checkpoint is a decimal number without leading zeroes")
    checkpoint = Checkpoint(origin, int(size), strict_base64(root))
    if len(checkpoint.root) != HASH_BYTES:
        raise NoteError(f"the root of a checkpoint has {HASH_BYTES} bytes")
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        raise NoteError("the root of an empty tree is the hash of nothing")
    return checkpoint


def cosigned_message(text: str, time_s: int) -> bytes:
    """Return what a cosigner signs: the time in seconds since the epoch, and the checkpoint's text."""
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def timestamped(time_s: int, signature: bytes) -> bytes:
    """Join a cosignature with the time that it vouches for."""
    return _TIME.pack(time_s) + signature


def parse_timestamped(blob: bytes) -> tuple[int, bytes]:
    """Part the time of a cosignature, seconds since the epoch, from its signature."""
    if len(blob) <= _TIME.size:
        raise NoteError("a cosignature has a time and a signature")
    (time_s,) = _TIME.unpack_from(blob)
    if time_s > _MOST_LEAVES:
        raise NoteError("the time of a cosignature is below 2**63")
    return time_s, blob[_TIME.size :]
