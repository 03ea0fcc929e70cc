"""What keeping bodies needs from the world."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from apikeyrouter.domain.events import SealedPart
from apikeyrouter.domain.models.system_error import ErrorCategory, SystemError  # noqa: A004 - published name
from apikeyrouter.domain.payloads import Loss


class PayloadStoreError(SystemError):
    """The files of the bodies cannot be read or written; `loss` is what it means for bodies under way."""

    category = ErrorCategory.AuditUnavailable
    code = "payloads_unavailable"
    http_status = 503
    retryable = True

    def __init__(self, message: str, *, loss: Loss = Loss.StoreFailed) -> None:
        super().__init__(message)
        self.loss = loss


class Bodies(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is to be sealed of one request; no answer if there was none. Truncated ones are cut already."""

    request_id: str
    client_id: str
    taken_at_us: int
    request: bytes
    answer: bytes | None = None
    request_truncated: bool = False
    answer_truncated: bool = False

    def __repr__(self) -> str:
        """Name the request without what it says."""
        return f"Bodies({self.request_id!r})"


class Payload(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The bodies of one request as they lie sealed, told without opening them."""

    request_id: str
    client_id: str
    subject: str
    key_fingerprint: str
    taken_at_us: int
    parts: tuple[SealedPart, ...]


class Place(NamedTuple):
    """One payload among those of a client or subject: enough to ask whether it may go."""

    request_id: str
    subject: str
    key_fingerprint: str
    taken_at_us: int


class FoundPart(NamedTuple):
    """A sealed body as it was found in the file: the hash is of what lies there now."""

    request_id: str
    part: str
    key_fingerprint: str
    sealed_sha256: str
    settled: bool


class PayloadStore(Protocol):
    """Seal bodies, open them, and shred the keys. Blocking, safe from any thread; raises `PayloadStoreError`.

    Nothing is made on disk before the first body is kept.
    """

    def pseudonym(self, client_id: str, person: str | None) -> str:
        """Return the name under which a client's person, or the client itself, appears in events."""

    def keep(self, bodies: Sequence[Bodies]) -> list[Payload | Loss]:
        """Seal bodies, durable together, each under its subject's key; tell for each what became of it."""

    def settle(self, request_ids: Sequence[str]) -> None:
        """Note that the log has recorded these."""

    def unsettled(self) -> list[Payload]:
        """Return what was sealed, and not noted as recorded."""

    def discard(self, request_ids: Sequence[str]) -> None:
        """Delete the bodies of requests."""

    def find(self, request_id: str) -> Payload | None:
        """Return what is kept of a request, unopened."""

    def listed(
        self, *, client_id: str | None, subject: str | None, after: str, limit: int
    ) -> Sequence[Payload]:
        """Return payloads in the order of their requests, those after one of them."""

    def open(self, request_id: str) -> dict[str, bytes]:
        """Unseal the bodies of a request by their part; raise `PayloadStoreError` if one does not open."""

    def places(
        self, client_id: str, *, subject: str | None = None, before_us: int | None = None
    ) -> Sequence[Place]:
        """Return where payloads of a client lie, all or those of a subject or before an instant."""

    def shred(self, subjects: Sequence[str]) -> None:
        """Destroy the data keys of subjects; durable when it returns, and harmless where there are none."""

    def delete(self, key_fingerprints: Sequence[str]) -> None:
        """Delete every body that was sealed under these keys."""

    def key_fingerprints(self) -> set[str]:
        """Return the fingerprints of the data keys that there are and that open."""

    def parts(self) -> Iterator[FoundPart]:
        """Yield every sealed body, in the order of their requests, reading each."""

    def close(self) -> None:
        """Give the files back."""
