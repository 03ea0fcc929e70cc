"""Signed notes (c2sp.org/signed-note): a text, and lines that say who signed it."""

import base64
import binascii
import re
from hashlib import sha256
from typing import NamedTuple

from apikeyrouter.limits import MOST_NOTE_BYTES, MOST_NOTE_SIGNATURES

ED25519 = 1
COSIGNATURE = 4
"""Ed25519 over the time and the text (c2sp.org/tlog-cosignature)."""

KEY_ID_BYTES = 4
PUBLIC_KEY_BYTES = 32
_DASH = "\u2014 "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_HEX_ID = re.compile(r"[0-9a-f]{8}")


class NoteError(ValueError):
    """Not a signed note, or not a key, by the rules; the message says which rule."""


class Signature(NamedTuple):
    """One signature line: who, by which key, and the bytes behind the key's id."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """Return the line without its newline."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}"


class Note(NamedTuple):
    """A text that ends in a newline, and its signatures; what they are worth is not known yet."""

    text: str
    signatures: tuple[Signature, ...]

    def render(self) -> str:
        """Return the note as it is kept and sent."""
        return f"{self.text}\n" + "".join(f"{one.line()}\n" for one in self.signatures)


class VerifierKey(NamedTuple):
    """The public half of a key: its name, what it signs (`ED25519` or `COSIGNATURE`), and 32 bytes."""

    name: str
    algorithm: int
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes by which signature lines name the key."""
        named = self.name.encode() + b"\n" + bytes((self.algorithm,)) + self.public_key
        return sha256(named).digest()[:KEY_ID_BYTES]

    def render(self) -> str:
        """Return the key as one line of text, without spaces."""
        encoded = base64.b64encode(bytes((self.algorithm,)) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"


def parse_key(text: str) -> VerifierKey:
    """Read a verifier key from `name+id+key`."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3 or not _HEX_ID.fullmatch(parts[1]):
        raise NoteError("a verifier key has the form name+id+key")
    name, key_id, encoded = parts
    material = strict_base64(encoded)
    _check_name(name)
    key = VerifierKey(name, material[0] if material else 0, material[1:])
    if key.algorithm not in {ED25519, COSIGNATURE} or len(key.public_key) != PUBLIC_KEY_BYTES:
        raise NoteError("the verifier key is of a kind that is not known here")
    if key.key_id.hex() != key_id:
        raise NoteError("the verifier key does not match its id")
    return key


def parse_note(data: bytes) -> Note:
    """Read a signed note, or refuse with the first rule that it breaks."""
    if len(data) > MOST_NOTE_BYTES:
        raise NoteError(f"a note has at most {MOST_NOTE_BYTES} bytes")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise NoteError("a note is UTF-8") from None
    if _CONTROL.search(whole):
        raise NoteError("a note has no control characters but newlines")
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise NoteError("a note is a text, an empty line, and signature lines, each ending in a newline")
    signatures = lines[:-1].split("\n")
    if len(signatures) > MOST_NOTE_SIGNATURES:
        raise NoteError(f"a note has at most {MOST_NOTE_SIGNATURES} signatures")
    return Note(f"{text}\n", tuple(map(parse_signature, signatures)))


def parse_signature(line: str) -> Signature:
    """Read one signature line, without its newline."""
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise NoteError("a signature line is a dash, a name and base64")
    _check_name(name)
    blob = strict_base64(encoded)
    if len(blob) <= KEY_ID_BYTES:
        raise NoteError("a signature has a key's id and at least a byte")
    return Signature(name, blob[:KEY_ID_BYTES], blob[KEY_ID_BYTES:])


def strict_base64(text: str) -> bytes:
    """Decode the one standard spelling of bytes; any other is refused."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError("not base64") from None
    if base64.b64encode(decoded).decode() != text:
        raise NoteError("not the standard spelling of base64")
    return decoded


def _check_name(name: str) -> None:
    if not name or "+" in name or any(char.isspace() for char in name):
        raise NoteError("a key's name is not empty and has neither spaces nor +")
