"""Ed25519 signatures on notes: the log's own on a checkpoint, and cosignatures that bear a time."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from apikeyrouter.domain.proof.checkpoints import cosigned_message, parse_timestamped, timestamped
from apikeyrouter.domain.proof.notes import (
    COSIGNATURE,
    ED25519,
    Note,
    NoteError,
    Signature,
    VerifierKey,
)


class NoteSigner:
    """Signs under a name; the private key stays inside the cipher's own object."""

    __slots__ = ("_private", "cosigning_key", "key")

    def __init__(self, name: str, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        public_key = self._private.public_key().public_bytes_raw()
        self.key = VerifierKey(name, ED25519, public_key)
        self.cosigning_key = VerifierKey(name, COSIGNATURE, public_key)

    def __repr__(self) -> str:
        return f"NoteSigner({self.key.render()!r})"

    def sign(self, text: str, time_s: int) -> Note:
        """Sign a checkpoint as its log, and cosign it with the time in seconds since the epoch."""
        return Note(text, (self.signature(text), self.cosign(text, time_s)))

    def signature(self, text: str) -> Signature:
        """Sign a text."""
        return Signature(self.key.name, self.key.key_id, self._private.sign(text.encode()))

    def cosign(self, text: str, time_s: int) -> Signature:
        """Vouch for a checkpoint at a time."""
        signed = self._private.sign(cosigned_message(text, time_s))
        key = self.cosigning_key
        return Signature(key.name, key.key_id, timestamped(time_s, signed))


def signed_by(note: Note, key: VerifierKey) -> bool:
    """Tell whether a key has signed: one valid signature at least, and none under its name that is not."""
    verdicts = [
        _verifies(note.text, one, key)
        for one in note.signatures
        if (one.name, one.key_id) == (key.name, key.key_id)
    ]
    return bool(verdicts) and all(verdicts)


def cosigned_at(note: Note, key: VerifierKey) -> int | None:
    """Return the latest time, in seconds since the epoch, for which a cosigner vouches; None if for none."""
    times = [
        parse_timestamped(one.signature)[0]
        for one in note.signatures
        if (one.name, one.key_id) == (key.name, key.key_id) and _verifies(note.text, one, key)
    ]
    return max(times, default=None)


def _verifies(text: str, signature: Signature, key: VerifierKey) -> bool:
    try:
        signed, message = signature.signature, text.encode()
        if key.algorithm == COSIGNATURE:
            time_s, signed = parse_timestamped(signed)
            message = cosigned_message(text, time_s)
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signed, message)
    except (InvalidSignature, NoteError, ValueError):
        return False
    return True
