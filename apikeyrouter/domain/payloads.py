"""What the fold knows of kept bodies: whose are kept, which are due, and which subjects are being erased."""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from apikeyrouter.domain.vocabulary.decisions import RouteDecided
from apikeyrouter.domain.vocabulary.payloads import (
    CaptureSet,
    ErasureStarted,
    PayloadCaptured,
    PayloadLost,
    SubjectErased,
)
from apikeyrouter.domain.vocabulary.shape import Event

if TYPE_CHECKING:
    from apikeyrouter.domain.state import RouterState

FIRST_ATTEMPT = 1


class Part(StrEnum):
    """The two bodies of a request."""

    Request = "request"
    Answer = "answer"


class Loss(StrEnum):
    """Why bodies that were to be kept are not."""

    QueueFull = "queue_full"
    DiskFull = "disk_full"
    StoreFailed = "store_failed"
    ErasurePending = "erasure_pending"
    ProcessEnded = "process_ended"


class NamedSubject(msgspec.Struct, frozen=True):
    """What a body says of whose data it is; both are texts that the client chose."""

    safety_identifier: Any = None
    user: Any = None


_named_in = msgspec.json.Decoder(NamedSubject).decode


def subject_named_in(body: bytes) -> str | None:
    """Return the person whom a request's body names; None where it names nobody, and the client answers.

    OpenAI's `safety_identifier` counts before the older `user`, of which it took the place.
    """
    try:
        named = _named_in(body)
    except msgspec.MsgspecError:
        return None
    texts = (named.safety_identifier, named.user)
    return next((text for text in texts if isinstance(text, str) and text), None)


class Payloads:
    """Changed by events alone.

    `capturing` says whose bodies are kept, `keep_us` how long, also of clients that are captured no more.
    `due` are requests whose bodies are neither kept nor lost yet, by client: what a dead process left there
    is lost. `erasing` are orders not carried out yet; `erased` names the order by which a data key was
    destroyed, by the key's fingerprint.
    """

    def __init__(self) -> None:
        self.capturing: dict[str, CaptureSet] = {}
        self.keep_us: dict[str, int] = {}
        self.due: dict[str, str] = {}
        self.erasing: dict[str, ErasureStarted] = {}
        self.erased: dict[str, str] = {}

    def decided(self, stream: str, event: RouteDecided) -> None:
        """Note that the bodies of a request are to be kept: its client's are when it is first decided."""
        client_id = event.facts.client_id
        if event.attempt == FIRST_ATTEMPT and client_id is not None and client_id in self.capturing:
            self.due[stream.removeprefix("request-")] = client_id

    def is_being_erased(self, client_id: str) -> bool:
        """Tell whether keys of a client are about to be destroyed: they must seal nothing any more."""
        return any(order.client_id == client_id for order in self.erasing.values())


def _capture_set(state: "RouterState", stream: str, _version: int, event: CaptureSet) -> None:
    payloads, client_id = state.payloads, stream.removeprefix("client-")
    if not event.enabled:
        payloads.capturing.pop(client_id, None)
        return
    payloads.capturing[client_id] = event
    if event.keep_us is None:
        payloads.keep_us.pop(client_id, None)
    else:
        payloads.keep_us[client_id] = event.keep_us


def _over(state: "RouterState", stream: str, _version: int, _event: PayloadCaptured | PayloadLost) -> None:
    state.payloads.due.pop(stream.removeprefix("payload-"), None)


def _erasure_started(state: "RouterState", stream: str, _version: int, event: ErasureStarted) -> None:
    state.payloads.erasing[stream.removeprefix("erasure-")] = event


def _subject_erased(state: "RouterState", stream: str, _version: int, event: SubjectErased) -> None:
    erasure_id = stream.removeprefix("erasure-")
    state.payloads.erased[event.key_fingerprint] = erasure_id
    order = state.payloads.erasing.get(erasure_id)
    if order is not None and order.subjects[-1].key_fingerprint == event.key_fingerprint:
        del state.payloads.erasing[erasure_id]


PAYLOAD_FOLDS: dict[type[Event], Callable[["RouterState", str, int, Any], None]] = {
    CaptureSet: _capture_set,
    PayloadCaptured: _over,
    PayloadLost: _over,
    ErasureStarted: _erasure_started,
    SubjectErased: _subject_erased,
}
