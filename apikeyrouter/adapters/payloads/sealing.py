"""How a body is sealed: deflated, then AES-256-GCM, bound to its request, its part, its subject and its key.

Deflating comes first since sealed bytes do not shrink: the events of a stream repeat their frame, and come to
a fifth or less. The length then tells whoever has the file how repetitive a body was.
"""

import os
import zlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from apikeyrouter.adapters.vault.envelope import SealBrokenError

NONCE_BYTES = 12
_CONTEXT = b"apikeyrouter.payload.v1"
_AS_IT_IS, _DEFLATED = b"\0", b"\1"
_LEAST_DEFLATED_BYTES = 256
_FASTEST = 1


def seal_body(data_key: bytes, place: tuple[str, ...], body: bytes) -> bytes:
    """Return nonce and ciphertext; they open with the same key at the same place alone."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(data_key).encrypt(nonce, _packed(body), _bound(place))


def unseal_body(data_key: bytes, place: tuple[str, ...], sealed: bytes) -> bytes:
    """Return the body, or raise `SealBrokenError`."""
    try:
        packed = AESGCM(data_key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound(place))
    except (InvalidTag, ValueError):  # ValueError: cut short
        raise SealBrokenError("the seal does not open") from None
    return zlib.decompress(packed[1:]) if packed[:1] == _DEFLATED else packed[1:]


def _packed(body: bytes) -> bytes:
    if len(body) >= _LEAST_DEFLATED_BYTES:
        deflated = zlib.compress(body, _FASTEST)
        if len(deflated) < len(body):
            return _DEFLATED + deflated
    return _AS_IT_IS + body


def _bound(place: tuple[str, ...]) -> bytes:
    """Bind a seal to its place, so that a row that was moved or swapped does not open."""
    return b"/".join((_CONTEXT, *(name.encode() for name in place)))
