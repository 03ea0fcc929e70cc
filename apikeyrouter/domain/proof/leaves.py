"""What stands in a leaf of the tree: a stored row as bytes that no other row has."""

from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import NamedTuple

from apikeyrouter.domain.proof.merkle import leaf_hash

FORMAT = 1
_HEAD = Struct(">BQQIII")
_ODD = (StructError, TypeError, AttributeError, UnicodeEncodeError)


class MalformedRowError(ValueError):
    """A row that the log can never have written: a column of another type, say."""


class StoredRow(NamedTuple):
    """A row as the store holds it: `state` are the event's bytes, never decoded for a proof."""

    position: int
    stream: str
    version: int
    name: str
    state: bytes


def leaf_bytes(position: int, stream: str, version: int, name: str, state: bytes) -> bytes:
    """Return the leaf of a row.

    The format (1 byte), position and version (8 bytes each) and three lengths (4 bytes each), all big-endian,
    then stream and name in UTF-8, and the state.
    """
    try:
        stream_bytes, name_bytes = stream.encode(), name.encode()
        head = _HEAD.pack(FORMAT, position, version, len(stream_bytes), len(name_bytes), len(state))
        return b"".join((head, stream_bytes, name_bytes, state))
    except _ODD as error:
        raise MalformedRowError(f"the row at position {position!r:.20} is no stored event") from error


def row_hash(row: StoredRow) -> bytes:
    """Return the hash of a row's leaf; raises `MalformedRowError`."""
    return leaf_hash(leaf_bytes(*row))
