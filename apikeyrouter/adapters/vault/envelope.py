"""Envelope encryption: a text under a random data key of its own, data keys under the master key."""

import hashlib
import hmac
import os
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MASTER_KEY_BYTES = 32
_DATA_KEY_BYTES = 32
_NONCE_BYTES = 12
_FINGERPRINT_HEX_DIGITS = 32
_CONTEXT = b"apikeyrouter.vault.v1"
_CHECK_TEXT = b"this vault opens"


class Sealed(NamedTuple):
    """What is stored for a subject; worthless without the master key."""

    data_key: bytes
    material: bytes


class SealBrokenError(Exception):
    """Another key, another subject, or changed bytes: the seal does not tell which."""


class Envelope:
    """Seal and unseal with one master key, which is kept only inside the ciphers' own objects."""

    __slots__ = ("_fingerprints", "_wrapping")

    def __init__(self, master_key: bytes) -> None:
        self._wrapping = AESGCM(derive_key(master_key, b"wrapping"))
        self._fingerprints = hmac.new(derive_key(master_key, b"fingerprint"), digestmod=hashlib.sha256)

    def __repr__(self) -> str:
        return "Envelope(…)"

    def seal(self, subject: str, material: bytes) -> Sealed:
        """Seal under a fresh data key, so that replaced material shares nothing with the new."""
        data_key = os.urandom(_DATA_KEY_BYTES)
        return Sealed(
            data_key=_seal(self._wrapping, data_key, _bound(b"data-key", subject)),
            material=_seal(AESGCM(data_key), material, _bound(b"material", subject)),
        )

    def unseal(self, subject: str, sealed: Sealed) -> bytes:
        """Return the material, or raise `SealBrokenError`."""
        data_key = _unseal(self._wrapping, sealed.data_key, _bound(b"data-key", subject))
        return _unseal(AESGCM(data_key), sealed.material, _bound(b"material", subject))

    def seal_check(self) -> bytes:
        """Return a value that only the same master key opens."""
        return _seal(self._wrapping, _CHECK_TEXT, _bound(b"check", ""))

    def opens(self, check: bytes) -> bool:
        """Tell whether a check value was sealed with this master key."""
        try:
            return _unseal(self._wrapping, check, _bound(b"check", "")) == _CHECK_TEXT
        except SealBrokenError:
            return False

    def fingerprint(self, material: bytes) -> str:
        """Return a keyed hash of the material."""
        keyed = self._fingerprints.copy()
        keyed.update(material)
        return keyed.hexdigest()[:_FINGERPRINT_HEX_DIGITS]


def derive_key(master_key: bytes, purpose: bytes) -> bytes:
    """Return the key of 32 bytes that serves one purpose and tells nothing of the others (HKDF, RFC 5869)."""
    if len(master_key) != MASTER_KEY_BYTES:
        raise ValueError(f"a master key has {MASTER_KEY_BYTES} bytes")
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_CONTEXT + b"/" + purpose).derive(master_key)


def _bound(purpose: bytes, subject: str) -> bytes:
    """Bind a seal to its purpose and subject, so that a row moved elsewhere does not open."""
    return b"/".join((_CONTEXT, purpose, subject.encode()))


def _seal(cipher: AESGCM, plain: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, bound)


def _unseal(cipher: AESGCM, sealed: bytes, bound: bytes) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
    except (InvalidTag, ValueError):  # ValueError: cut short
        raise SealBrokenError("the seal does not open") from None
