"""Erasure: destroy the data keys of subjects, so that what they sealed says nothing to anybody any more.

The order is durable before anything is destroyed, and names all that will be; a crash in between is made good
at the next start. A legal hold on anything that would go refuses the whole order.
"""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.notices import notices
from apikeyrouter.application.payloads.capturing import Capturing
from apikeyrouter.application.payloads.ports import PayloadStore, PayloadStoreError, Place
from apikeyrouter.application.payloads.terms import checked_client, checked_reason
from apikeyrouter.application.ports import Clock, Entropy, EventReader
from apikeyrouter.domain.events import (
    DoomedSubject,
    ErasureRefused,
    ErasureStarted,
    NewEvent,
    Recorded,
    SubjectErased,
    erasure_stream,
)
from apikeyrouter.domain.holds import Hold
from apikeyrouter.domain.models.system_error import ConflictError, NotFoundError


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure as the log tells it; not finished while a subject's end is missing."""

    erasure_id: str
    events: tuple[Recorded, ...]

    @property
    def order(self) -> ErasureStarted:
        """What was ordered."""
        order = self.events[0].event
        assert isinstance(order, ErasureStarted)  # noqa: S101 - every such stream begins with it
        return order

    @property
    def erased(self) -> tuple[SubjectErased, ...]:
        """The ends, subject by subject."""
        return tuple(one.event for one in self.events if isinstance(one.event, SubjectErased))

    @property
    def finished(self) -> bool:
        """Tell whether every key that was named is destroyed."""
        return len(self.erased) == len(self.order.subjects)


class Erasing:
    """Carry out erasures, one at a time."""

    def __init__(
        self, *, journal: Journal, reader: EventReader, clock: Clock, entropy: Entropy, capturing: Capturing
    ) -> None:
        self._journal = journal
        self._reader = reader
        self._clock = clock
        self._entropy = entropy
        self._capturing = capturing

    async def erase(
        self, client_id: str, person: str | None = None, *, actor: str, reason: str | None = None
    ) -> Erasure:
        """Erase what is kept of a client's person, or of all persons of a client and of the client itself.

        Raises `NotFoundError` if nothing is kept, `ConflictError` if a legal hold covers any of it.
        """
        checked_client(client_id)
        reason = checked_reason(reason)
        await self.finish()
        async with self._capturing.alone() as store:
            subject = None if person is None else store.pseudonym(client_id, person)
            places = await asyncio.to_thread(store.places, client_id, subject=subject)
            if not places:
                raise NotFoundError(_nothing_of(client_id, person), code="no_payload")
            held = self._held(client_id, places)
            if held is not None:
                await self._refuse(client_id, *held, actor=actor, reason=reason)
            erasure_id = self._entropy.new_id()
            order = ErasureStarted(
                at_us=self._clock.now_us(),
                actor=actor,
                client_id=client_id,
                subjects=tuple(_doomed(places)),
                reason=reason,
            )
            stream = erasure_stream(erasure_id)
            await self._journal.settled(self._journal.record((NewEvent(stream, 1, order),)))
            await self._carry_out(store, erasure_id, order)
        return await self.receipt(erasure_id)

    async def finish(self) -> None:
        """Carry out what could not be before; what still cannot be stays ordered."""
        for erasure_id, order in list(self._journal.state.payloads.erasing.items()):
            try:
                async with self._capturing.alone() as store:
                    await self._carry_out(store, erasure_id, order)
            except PayloadStoreError as error:
                notices().error("erasure_not_finished", erasure_id=erasure_id, reason=error.message)

    async def receipt(self, erasure_id: str) -> Erasure:
        """Return what the log says of an erasure, or raise `NotFoundError`."""
        erasure_id = erasure_id.removeprefix(erasure_stream(""))
        events = await asyncio.to_thread(self._reader.stream, erasure_stream(erasure_id))
        if not events or not isinstance(events[0].event, ErasureStarted):
            raise NotFoundError(
                f"there is no erasure {erasure_id[:64]!r}: `apikeyrouter payloads receipt` lists all",
                param="erasure_id",
            )
        return Erasure(erasure_id=erasure_id, events=tuple(events))

    def erasure_ids(self) -> list[str]:
        """Return the ids of all erasures, in the order in which they were ordered."""
        payloads = self._journal.state.payloads
        return sorted({*payloads.erased.values(), *payloads.erasing})

    async def _carry_out(self, store: PayloadStore, erasure_id: str, order: ErasureStarted) -> None:
        await asyncio.to_thread(store.shred, [doomed.subject for doomed in order.subjects])
        await asyncio.to_thread(store.delete, [doomed.key_fingerprint for doomed in order.subjects])
        at_us = self._clock.now_us()
        stream = erasure_stream(erasure_id)
        first = self._journal.state.next_version(stream)
        ends = [
            NewEvent(stream, version, _erased(doomed, order, at_us))
            for version, doomed in enumerate(order.subjects, first)
        ]
        await self._journal.settled(self._journal.record(ends))

    def _held(self, client_id: str, places: Iterable[Place]) -> tuple[Hold, Place] | None:
        holds = self._journal.state.holds
        if not len(holds):
            return None
        for place in places:
            hold = holds.covering(
                client_id=client_id,
                subject=place.subject,
                request_id=place.request_id,
                at_us=place.taken_at_us,
            )
            if hold is not None:
                return hold, place
        return None

    async def _refuse(
        self, client_id: str, hold: Hold, place: Place, *, actor: str, reason: str | None
    ) -> None:
        refused = ErasureRefused(
            at_us=self._clock.now_us(),
            actor=actor,
            client_id=client_id,
            subject=place.subject,
            hold_id=hold.hold_id,
            reason=reason,
        )
        stream = erasure_stream(self._entropy.new_id())
        await self._journal.settled(self._journal.record((NewEvent(stream, 1, refused),)))
        raise ConflictError(
            f"the legal hold {hold.hold_id} on {hold.about()} covers request {place.request_id}:"
            " nothing was erased; release the hold first",
            code="legal_hold",
        )


def _doomed(places: Sequence[Place]) -> Iterable[DoomedSubject]:
    """Name every key with what it opens."""
    by_key = sorted(places, key=lambda place: (place.subject, place.key_fingerprint, place.taken_at_us))
    for (subject, fingerprint), group in groupby(by_key, key=lambda place: place[1:3]):
        times = [place.taken_at_us for place in group]
        yield DoomedSubject(
            subject=subject,
            key_fingerprint=fingerprint,
            payloads=len(times),
            from_us=times[0],
            until_us=times[-1],
        )


def _erased(doomed: DoomedSubject, order: ErasureStarted, at_us: int) -> SubjectErased:
    return SubjectErased(
        at_us=at_us,
        actor=order.actor,
        client_id=order.client_id,
        subject=doomed.subject,
        key_fingerprint=doomed.key_fingerprint,
        payloads=doomed.payloads,
        from_us=doomed.from_us,
        until_us=doomed.until_us,
        reason=order.reason,
    )


def _nothing_of(client_id: str, person: str | None) -> str:
    whose = "this subject" if person is not None else "any subject"
    named = f"{whose} of client {client_id[:128]!r}"
    return f"no bodies are kept of {named}: `apikeyrouter payloads list` shows whose are"
