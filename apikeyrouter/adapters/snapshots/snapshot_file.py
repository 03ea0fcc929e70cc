"""The file of a snapshot: what it says of itself, the state, and a seal over both.

In order: a line that names the format, the length of the head (4 bytes, big-endian), the head in JSON, the
state deflated by zlib, and an HMAC-SHA-256 over all before it, under a key derived from the vault's master
key. Nothing but the seal is looked at before the seal was found to be right.
"""

import hmac
import zlib

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FORMAT = b"apikeyrouter snapshot 1\n"
KEY_BYTES = 32
_MAC_BYTES = 32
_LENGTH_BYTES = 4
_CONTEXT = b"apikeyrouter.snapshots.v1/seal"
_FASTEST = 1


class SnapshotRefusedError(ValueError):
    """The file is no snapshot to be used; the message says why."""


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a snapshot is one of: the place in which log, by the hashes of two rows, and by which fold."""

    position: int
    latest_us: int
    first_row: str
    row: str
    fold: str


def seal_key(master_key: bytes) -> bytes:
    """Derive the key of the seals; of the master key it tells nothing."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=_CONTEXT).derive(master_key)


def sealed(head: Head, content: bytes, key: bytes) -> bytes:
    """Return the file's bytes."""
    told = msgspec.json.encode(head)
    length = len(told).to_bytes(_LENGTH_BYTES, "big")
    body = b"".join((FORMAT, length, told, zlib.compress(content, _FASTEST)))
    return body + hmac.digest(key, body, "sha256")


def opened(raw: bytes, key: bytes) -> tuple[Head, bytes]:
    """Return the head and the state, still deflated, of a file whose seal is right."""
    body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    if not hmac.compare_digest(hmac.digest(key, body, "sha256"), mac):
        raise SnapshotRefusedError("it was damaged, or sealed with another master key")
    if not body.startswith(FORMAT):
        raise SnapshotRefusedError("it has another format")
    begin = len(FORMAT) + _LENGTH_BYTES
    end = begin + int.from_bytes(body[len(FORMAT) : begin], "big")
    return msgspec.json.decode(body[begin:end], type=Head), body[end:]
