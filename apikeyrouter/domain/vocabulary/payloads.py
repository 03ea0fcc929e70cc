"""Bodies of requests and answers, where they are kept: streams client, payload and erasure.

No event holds a word of them, nor a hash by which a guess could be confirmed. A subject, the person whose
data it is, appears as a pseudonym: a keyed hash, bound to the client.
"""

import msgspec

from apikeyrouter.domain.vocabulary.shape import Event


class CaptureSet(Event, frozen=True, kw_only=True, gc=False):
    """An administrator said whether a client's bodies are kept, and how long; None: until they are erased."""

    actor: str
    enabled: bool
    keep_us: int | None = None
    reason: str | None = None


class SealedPart(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A body, `request` or `answer`, as it was sealed: its own size, and size and hash of the ciphertext."""

    part: str
    plain_bytes: int
    sealed_bytes: int
    sealed_sha256: str
    truncated: bool = False


class PayloadCaptured(Event, frozen=True, kw_only=True, gc=False):
    """The bodies of a request were sealed under its subject's data key, which the fingerprint names.

    `taken_at_us` is when the request ended.
    """

    client_id: str
    subject: str
    key_fingerprint: str
    taken_at_us: int
    parts: tuple[SealedPart, ...]


class PayloadLost(Event, frozen=True, kw_only=True, gc=False):
    """Bodies that were to be kept are not, for a reason; nothing of them is left."""

    client_id: str
    reason: str


class PayloadRead(Event, frozen=True, kw_only=True, gc=False):
    """Somebody unsealed the bodies of a request. It is recorded before they are shown."""

    actor: str
    client_id: str
    subject: str
    reason: str | None = None


class PayloadsExpired(Event, frozen=True, kw_only=True, gc=False):
    """Bodies of a client that were taken before an instant are deleted, save those under a legal hold."""

    client_id: str
    before_us: int
    payloads: int


class DoomedSubject(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A subject whose data key is to be destroyed, and what it opens: how many payloads, taken when."""

    subject: str
    key_fingerprint: str
    payloads: int
    from_us: int
    until_us: int


class ErasureStarted(Event, frozen=True, kw_only=True, gc=False):
    """An administrator ordered erasure; it is finished whatever happens, at the next start at the latest."""

    actor: str
    client_id: str
    subjects: tuple[DoomedSubject, ...]
    reason: str | None = None


class SubjectErased(Event, frozen=True, kw_only=True, gc=False):
    """A subject's data key is destroyed and the ciphertexts are deleted: what they said is gone for ever."""

    actor: str
    client_id: str
    subject: str
    key_fingerprint: str
    payloads: int
    from_us: int
    until_us: int
    reason: str | None = None


class ErasureRefused(Event, frozen=True, kw_only=True, gc=False):
    """An erasure was refused because of a legal hold."""

    actor: str
    client_id: str
    subject: str
    hold_id: str
    reason: str | None = None
