"""Deletion by age: bodies of a client go when their time is over, unless a legal hold covers them."""

import asyncio
import contextlib

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.notices import notices
from apikeyrouter.application.payloads.capturing import Capturing
from apikeyrouter.application.payloads.ports import PayloadStore
from apikeyrouter.application.ports import Clock
from apikeyrouter.domain.events import PayloadsExpired, client_stream
from apikeyrouter.domain.models.system_error import SystemError as RouterError

EVERY_S = 3600.0


class Expiring:
    """Deletes at the start, then every hour, and whenever it is asked to."""

    def __init__(self, *, journal: Journal, clock: Clock, capturing: Capturing) -> None:
        self._journal = journal
        self._clock = clock
        self._capturing = capturing
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look at the clock."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def expire(self) -> dict[str, int]:
        """Delete what is too old; return how many payloads of which client."""
        gone: dict[str, int] = {}
        for client_id, keep_us in list(self._journal.state.payloads.keep_us.items()):
            async with self._capturing.alone() as store:
                count = await self._expire(store, client_id, self._clock.now_us() - keep_us)
            if count:
                gone[client_id] = count
        return gone

    async def _expire(self, store: PayloadStore, client_id: str, before_us: int) -> int:
        places = await asyncio.to_thread(store.places, client_id, before_us=before_us)
        holds = self._journal.state.holds
        free = [
            place.request_id
            for place in places
            if holds.covering(
                client_id=client_id,
                subject=place.subject,
                request_id=place.request_id,
                at_us=place.taken_at_us,
            )
            is None
        ]
        if free:
            expired = PayloadsExpired(
                at_us=self._clock.now_us(), client_id=client_id, before_us=before_us, payloads=len(free)
            )
            await self._journal.settled(self._journal.record_next(client_stream(client_id), expired))
            await asyncio.to_thread(store.discard, free)
        return len(free)

    async def _run(self) -> None:
        while True:
            try:
                await self.expire()
            except RouterError as error:
                notices().error("payloads_not_expired", reason=error.message)
            await asyncio.sleep(EVERY_S)
