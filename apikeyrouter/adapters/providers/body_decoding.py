"""Undo a content encoding that nobody asked for, never producing more at once than is wanted."""

import zlib
from collections.abc import AsyncIterator, Mapping

from apikeyrouter.adapters.providers.limits import DECODED_PIECE_BYTES
from apikeyrouter.adapters.providers.transport import TransportError
from apikeyrouter.domain.failures import FailureClass

_EITHER_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
_PLAIN = frozenset({"", "identity"})


class Inflater:
    """Inflate gzip or deflate step by step; a bomb unfolds only as far as the caller lets it."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_EITHER_GZIP_OR_ZLIB)
        self._waiting = b""

    def decode(self, data: bytes, limit_bytes: int) -> bytes:
        """Return at most so many decoded bytes; the rest comes with the next calls."""
        if self._inflate.eof:
            return _nothing_more(data)
        try:
            decoded = self._inflate.decompress(self._waiting + data, limit_bytes)
        except zlib.error:
            raise malformed() from None
        self._waiting = self._inflate.unconsumed_tail
        _nothing_more(self._inflate.unused_data)
        return decoded

    @property
    def at_end(self) -> bool:
        """Tell whether the compressed data came to its proper end."""
        return self._inflate.eof


def _nothing_more(data: bytes) -> bytes:
    if data:
        raise malformed()
    return b""


def malformed() -> TransportError:
    """Say that what arrived is not an answer."""
    return TransportError(FailureClass.MalformedAnswer, sent=True)


def broken() -> TransportError:
    """Say that the answer ended before its end."""
    return TransportError(FailureClass.BrokenAnswer, sent=True)


def inflater_for(headers: Mapping[str, str]) -> Inflater | None:
    """Choose how to decode a body: not at all, by inflating, or refuse an encoding not asked for."""
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in _PLAIN:
        return None
    if encoding in _COMPRESSED:
        return Inflater()
    raise malformed()


def decode_whole(body: bytes, headers: Mapping[str, str], limit_bytes: int) -> bytes:
    """Decode a complete body; more than the limit is refused before it is unfolded."""
    inflater = inflater_for(headers)
    if inflater is not None and body:
        body = _inflate_whole(inflater, body, limit_bytes)
    if len(body) > limit_bytes:
        raise malformed()
    return body


def _inflate_whole(inflater: Inflater, body: bytes, limit_bytes: int) -> bytes:
    decoded = inflater.decode(body, limit_bytes + 1)
    if len(decoded) <= limit_bytes and not inflater.at_end:
        raise broken()
    return decoded


async def inflated(raw: AsyncIterator[bytes], inflater: Inflater) -> AsyncIterator[bytes]:
    """Inflate a body as it arrives, in pieces of bounded size at the reader's pace."""
    async for data in raw:
        piece = inflater.decode(data, DECODED_PIECE_BYTES)
        while piece:
            yield piece
            piece = inflater.decode(b"", DECODED_PIECE_BYTES)
    if not inflater.at_end:
        raise broken()
