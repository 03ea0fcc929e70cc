"""Look at kept bodies: what there is, and what it says, of which every reading is an event."""

import asyncio
from collections.abc import Sequence

import msgspec

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.payloads.capturing import Capturing
from apikeyrouter.application.payloads.ports import Payload, PayloadStore
from apikeyrouter.application.payloads.terms import checked_client, checked_reason
from apikeyrouter.application.ports import Clock, EventReader
from apikeyrouter.domain.events import (
    NewEvent,
    PayloadCaptured,
    PayloadLost,
    PayloadRead,
    Recorded,
    payload_stream,
)
from apikeyrouter.domain.holds import check_pseudonym
from apikeyrouter.domain.models.system_error import InvalidRequestError, NotFoundError
from apikeyrouter.limits import MOST_LISTED_PAYLOADS


class OpenedPayload(msgspec.Struct, frozen=True, kw_only=True):
    """The bodies of one request in plain, by part; nothing in its text shows them by accident."""

    payload: Payload
    bodies: dict[str, bytes]

    def __repr__(self) -> str:
        return f"OpenedPayload({self.payload.request_id!r})"


class Reading:
    """List and open what is kept."""

    def __init__(
        self,
        *,
        journal: Journal,
        reader: EventReader,
        clock: Clock,
        capturing: Capturing,
        store: PayloadStore,
    ) -> None:
        self._journal = journal
        self._reader = reader
        self._clock = clock
        self._capturing = capturing
        self._store = store

    def pseudonym(self, client_id: str, person: str | None) -> str:
        """Return the name under which a client's person, or the client itself, appears in events."""
        return self._store.pseudonym(checked_client(client_id), person)

    async def listed(
        self,
        *,
        client_id: str | None = None,
        subject: str | None = None,
        after: str = "",
        limit: int = 100,
    ) -> Sequence[Payload]:
        """Return what is kept, unopened, in the order of the requests."""
        if not 1 <= limit <= MOST_LISTED_PAYLOADS:
            raise InvalidRequestError(f"limit is a number from 1 to {MOST_LISTED_PAYLOADS}", param="limit")
        if subject is not None:
            check_pseudonym(subject, "subject")
        return await asyncio.to_thread(
            self._store.listed, client_id=client_id, subject=subject, after=after, limit=limit
        )

    async def about(self, request_id: str) -> Payload:
        """Return what is kept of a request, unopened, or say why there is nothing."""
        request_id = request_id.removeprefix("request-")
        found = await asyncio.to_thread(self._store.find, request_id)
        if found is None:
            raise self._gone(request_id, await self._history(request_id))
        return found

    async def show(self, request_id: str, *, actor: str, reason: str | None = None) -> OpenedPayload:
        """Unseal the bodies of a request; who does that, and why, is durable before they are returned."""
        request_id, reason = request_id.removeprefix("request-"), checked_reason(reason)
        async with self._capturing.alone() as store:
            found = await asyncio.to_thread(store.find, request_id)
            history = await self._history(request_id)
            if found is None:
                raise self._gone(request_id, history)
            bodies = await asyncio.to_thread(store.open, request_id)
            read = PayloadRead(
                at_us=self._clock.now_us(),
                actor=actor,
                client_id=found.client_id,
                subject=found.subject,
                reason=reason,
            )
            event = NewEvent(payload_stream(request_id), len(history) + 1, read)
            await self._journal.settled(self._journal.record((event,)))
        return OpenedPayload(payload=found, bodies=bodies)

    async def _history(self, request_id: str) -> list[Recorded]:
        return await asyncio.to_thread(self._reader.stream, payload_stream(request_id))

    def _gone(self, request_id: str, history: Sequence[Recorded]) -> NotFoundError:
        """Say why there is nothing to show."""
        first = history[0].event if history else None
        if isinstance(first, PayloadLost):
            why = f"the bodies of request {request_id} were not kept: {first.reason}"
            return NotFoundError(why, code="payload_lost")
        if isinstance(first, PayloadCaptured):
            erasure_id = self._journal.state.payloads.erased.get(first.key_fingerprint)
            how = "they have expired, or are missing" if erasure_id is None else f"erasure {erasure_id}"
            return NotFoundError(f"the bodies of request {request_id} are gone: {how}", code="payload_gone")
        asked = repr(request_id[:64])
        why = f"no bodies are kept of a request {asked}: `apikeyrouter payloads list` names the others"
        return NotFoundError(why, param="request_id", code="no_payload")
