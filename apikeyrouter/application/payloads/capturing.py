"""Bodies on their way from a request that has ended into the store: behind the answer, never before it.

Whose are kept is decided with the request's first decision, by the fold: there the request is due until an
event says that its bodies are kept, or why they are not. The queue is bounded: what does not fit is lost, and
the log says so.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import NamedTuple

from apikeyrouter.application.journal import RETRY_S, Journal, unavailable
from apikeyrouter.application.notices import notices
from apikeyrouter.application.passage import Passage
from apikeyrouter.application.payloads.gathering import GatheredChunks
from apikeyrouter.application.payloads.ports import Bodies, Payload, PayloadStore, PayloadStoreError
from apikeyrouter.application.ports import Clock
from apikeyrouter.domain.events import Event, NewEvent, PayloadCaptured, PayloadLost, payload_stream
from apikeyrouter.domain.models.system_error import LogUnavailableError
from apikeyrouter.domain.payloads import Loss
from apikeyrouter.limits import (
    DEFAULT_CAPTURE_BYTES,
    MOST_PAYLOADS_AT_ONCE,
    MOST_QUEUED_PAYLOAD_BYTES,
    MOST_QUEUED_PAYLOADS,
)

RECORDED_AT_ONCE = 100


class Bounds(NamedTuple):
    """How much of a body is kept, and how much may wait to be stored."""

    part_bytes: int = DEFAULT_CAPTURE_BYTES
    queued: int = MOST_QUEUED_PAYLOADS
    queued_bytes: int = MOST_QUEUED_PAYLOAD_BYTES


class _Lost(NamedTuple):
    request_id: str
    client_id: str
    loss: Loss


class Capturing:
    """Takes bodies over, and stores them from a task of its own."""

    def __init__(
        self, *, journal: Journal, clock: Clock, store: PayloadStore, bounds: Bounds | None = None
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._store = store
        self._bounds = bounds or Bounds()
        self._queue: deque[Bodies] = deque()
        self._queued_bytes = 0
        self._lost: list[_Lost] = []
        self._taken: set[str] = set()
        self._recorded: list[str] = []
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    # --- in the request's way, as little as can be ------------------------------------------------------

    def gathered(self, passage: Passage, chunks: AsyncIterable[bytes]) -> AsyncIterable[bytes]:
        """Remember the chunks as they pass, if the request is due."""
        if passage.request_id not in self._journal.state.payloads.due:
            return chunks
        return GatheredChunks(passage, chunks, self._bounds.part_bytes)

    def ended(self, passage: Passage) -> None:
        """Queue the bodies of a request that is due; the first end counts."""
        client_id = self._journal.state.payloads.due.get(passage.request_id)
        if client_id is None or passage.request_id in self._taken:
            return
        self._taken.add(passage.request_id)
        bodies = self._cut(passage, client_id)
        size = len(bodies.request) + len(bodies.answer or b"")
        if len(self._queue) >= self._bounds.queued or self._queued_bytes + size > self._bounds.queued_bytes:
            self._lost.append(_Lost(passage.request_id, client_id, Loss.QueueFull))
        else:
            self._queue.append(bodies)
            self._queued_bytes += size
        self._news.set()

    def _cut(self, passage: Passage, client_id: str) -> Bodies:
        most, request, answer = self._bounds.part_bytes, passage.order.body, passage.answer
        return Bodies(
            request_id=passage.request_id,
            client_id=client_id,
            taken_at_us=self._clock.now_us(),
            request=request[:most],
            request_truncated=len(request) > most,
            answer=None if answer is None else bytes(answer[:most]),
            answer_truncated=passage.answer_is_cut or (answer is not None and len(answer) > most),
        )

    # --- behind it --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Settle what an earlier process left, then store what comes."""
        try:
            await self._settle_left_over()
        except PayloadStoreError as error:
            notices().error("payloads_not_readable", reason=error.message)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Store what is queued, and end."""
        self._closing = True
        self._news.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        with contextlib.suppress(PayloadStoreError):
            await asyncio.to_thread(self._store.settle, self._recorded)
        await asyncio.to_thread(self._store.close)

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[PayloadStore]:
        """Hold the store for oneself; whatever ended before is stored and recorded by then."""
        async with self._turn:
            await self._store_queued()
            yield self._store

    async def _run(self) -> None:
        while not self._closing:
            await self._news.wait()
            self._news.clear()
            async with self._turn:
                await self._store_queued()

    async def _store_queued(self) -> None:
        while self._queue or self._lost:
            lost, self._lost = self._lost, []
            batch = self._next_batch()
            outcomes = await asyncio.to_thread(self._keep, batch) if batch else []
            failed = [
                _Lost(bodies.request_id, bodies.client_id, outcome)
                for bodies, outcome in zip(batch, outcomes, strict=True)
                if isinstance(outcome, Loss)
            ]
            kept = [outcome for outcome in outcomes if isinstance(outcome, Payload)]
            await self._record([*kept, *failed, *lost])

    def _next_batch(self) -> list[Bodies]:
        """Take the next ones from the queue; of a client whose keys are being destroyed nothing is sealed."""
        batch: list[Bodies] = []
        while self._queue and len(batch) < MOST_PAYLOADS_AT_ONCE:
            bodies = self._queue.popleft()
            self._queued_bytes -= len(bodies.request) + len(bodies.answer or b"")
            if self._journal.state.payloads.is_being_erased(bodies.client_id):
                self._lost.append(_Lost(bodies.request_id, bodies.client_id, Loss.ErasurePending))
            else:
                batch.append(bodies)
        return batch

    def _keep(self, batch: Sequence[Bodies]) -> list[Payload | Loss]:
        noted, self._recorded = self._recorded, []
        try:
            self._store.settle(noted)
            return self._store.keep(batch)
        except PayloadStoreError as error:
            notices().error("payloads_not_stored", reason=error.message, payloads=len(batch))
            return [error.loss] * len(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, requests go on; its words may hold a body
            notices().error("payloads_not_stored", error=type(error).__name__, payloads=len(batch))
            return [Loss.StoreFailed] * len(batch)

    async def _record(self, outcomes: Sequence[Payload | _Lost]) -> None:
        """Record what became of bodies; while the log cannot be written, that waits, and so does the rest."""
        while True:
            try:
                await self._try_record(outcomes)
            except LogUnavailableError:
                if self._closing:
                    return  # the next start finds what is stored, and what is due
                await asyncio.sleep(RETRY_S)
            else:
                self._taken.difference_update(outcome.request_id for outcome in outcomes)
                return

    async def _try_record(self, outcomes: Sequence[Payload | _Lost]) -> None:
        if not self._journal.ready:
            raise unavailable()  # what is due is known again once the state has been folded anew
        due, at_us = self._journal.state.payloads.due, self._clock.now_us()
        told = [one for one in outcomes if one.request_id in due]
        if told:
            events = [NewEvent(payload_stream(one.request_id), 1, _event(one, at_us)) for one in told]
            await self._journal.settled(self._journal.record(events))
        self._recorded.extend(one.request_id for one in told if isinstance(one, Payload))

    async def _settle_left_over(self) -> None:
        """Record what an earlier process stored, and that the rest of what was due is lost."""
        due = self._journal.state.payloads.due
        stored = await asyncio.to_thread(self._store.unsettled)
        outcomes: list[Payload | _Lost] = [one for one in stored if one.request_id in due]
        known = {one.request_id for one in outcomes}
        outcomes += [_Lost(*one, Loss.ProcessEnded) for one in due.items() if one[0] not in known]
        others = [one.request_id for one in stored if one.request_id not in known]
        for first in range(0, len(outcomes), RECORDED_AT_ONCE):
            await self._record(outcomes[first : first + RECORDED_AT_ONCE])
        strangers = [one for one in others if not await asyncio.to_thread(self._is_recorded, one)]
        await asyncio.to_thread(self._store.discard, strangers)
        self._recorded += [one for one in others if one not in strangers]

    def _is_recorded(self, request_id: str) -> bool:
        return bool(self._journal.log.stream(payload_stream(request_id)))


def _event(outcome: Payload | _Lost, at_us: int) -> Event:
    if isinstance(outcome, _Lost):
        return PayloadLost(at_us=at_us, client_id=outcome.client_id, reason=outcome.loss)
    return PayloadCaptured(
        at_us=at_us,
        client_id=outcome.client_id,
        subject=outcome.subject,
        key_fingerprint=outcome.key_fingerprint,
        taken_at_us=outcome.taken_at_us,
        parts=outcome.parts,
    )
