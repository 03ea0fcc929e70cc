"""The event log in one SQLite file: the loop's side of the group commit.

One batch is with the writer at a time; what is appended meanwhile becomes the next, so batches grow with the
load. It is handed over at the end of the next turn of the loop, so that what arrives together shares one.
"""

import asyncio
import os
import sqlite3
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from apikeyrouter.adapters.eventlog.backlog import Backlog, Batch
from apikeyrouter.adapters.eventlog.connections import WriterSettings
from apikeyrouter.adapters.eventlog.followers import Followers
from apikeyrouter.adapters.eventlog.lock import WriterLock
from apikeyrouter.adapters.eventlog.mapper import to_stored
from apikeyrouter.adapters.eventlog.outage import CLOSED, reason_of, unavailable
from apikeyrouter.adapters.eventlog.recorder import Synchronous
from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.eventlog.writer import LogWriter
from apikeyrouter.application.notices import notices
from apikeyrouter.application.ports import Follower
from apikeyrouter.domain.events import NewEvent, Recorded

T = TypeVar("T")


class SqliteLog:
    """Implements `EventLog`. Opening it locks the file for other writers until `close`."""

    def __init__(
        self, path: Path | str, *, synchronous: Synchronous = "FULL", max_pages: int | None = None
    ) -> None:
        real_path = Path(os.path.realpath(path))  # two names of one file must find the same lock
        self._lock = WriterLock(real_path)
        try:
            self._writer = LogWriter(WriterSettings(real_path, synchronous, max_pages))
            self._reader = SqliteReader(real_path)
        except BaseException:
            self._lock.release()
            raise
        self._followers = Followers()
        self._backlog = Backlog()
        self._busy = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._until_idle: list[asyncio.Future[None]] = []
        self._changing = asyncio.Lock()
        self._reason = ""
        self._condemned = False
        self.head = self._acknowledged = self._writer.first_head
        self.available = True

    def append(self, events: Sequence[NewEvent]) -> asyncio.Future[None]:
        """Hand in events that become durable all or none."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._move_to(loop)
        if not self.available:
            raise unavailable(self._reason)
        if self._backlog.full:
            raise unavailable("too many events wait for the disk")
        encoded = [to_stored(event.event) for event in events]  # before anything is changed: it may refuse
        waiter = loop.create_future()
        self.head = self._backlog.add(self.head, events, encoded, waiter)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._wait_a_turn)
        return waiter

    def together(self) -> AbstractContextManager[None]:
        """Put all appends within into one transaction, however large that becomes."""
        return self._backlog.together()

    def follow(self, follower: Follower) -> None:
        """Call `follower` in the loop thread with every batch once it is durable, before those who wait."""
        self._followers.add(follower)

    def read(self, after: int = 0, until: int | None = None) -> Iterator[Recorded]:
        """Yield the durable events with `after < position <= until`."""
        return self._reader.read(after, until)

    def stream(self, stream: str) -> list[Recorded]:
        """Return the durable events of one stream."""
        return self._reader.stream(stream)

    def event(self, stream: str, version: int) -> Recorded | None:
        """Return one event by its place in its stream; None if the log does not have it."""
        return self._reader.event(stream, version)

    def within(self, prefixes: Sequence[str], after: int, until: int) -> list[Recorded]:
        """Return the events with `after < position <= until` of streams whose names begin so."""
        return self._reader.within(prefixes, after, until)

    def publish(self, *, url: str) -> None:
        """Let command-line tools find the server that writes this log; see `read_owner`."""
        self._lock.publish(url=url)

    def limit_pages(self, max_pages: int | None) -> None:
        """Cap the size of the file from here on, in pages of `PAGE_BYTES`; None is no cap."""
        self._writer.limit_pages(max_pages)

    def condemn(self, reason: str) -> None:
        """Take no more until another process opens the log; what was handed in is still written."""
        self.available, self._reason, self._condemned = False, reason, True

    async def remove(self, runs: Sequence[tuple[int, int]]) -> None:
        """Delete rows by ranges of positions, behind the batches that were handed in before."""
        await self._maintain(self._writer.remove(runs))

    async def wipe(self) -> bool:
        """Leave no copies of deleted rows in the write-ahead file; False if somebody reads it now."""
        return await self._maintain(self._writer.wipe())

    async def reopen(self) -> None:
        """Make the log writable after a failure, or raise `LogUnavailableError` and stay as it is."""
        async with self._changing:
            await self._idle()
            if self.available:
                return
            if self._condemned or self._reason == CLOSED:
                raise unavailable(self._reason)
            try:
                head = await self._writer.reopen(self._acknowledged)
            except Exception as failure:
                raise unavailable(reason_of(failure)) from failure
            self.head = self._acknowledged = head
            self.available = True

    async def close(self) -> None:
        """Write what is pending, move it into the main file, and let another process write."""
        async with self._changing:
            if not self._lock.held:
                return
            self.available, self._reason = False, CLOSED
            await self._idle()
            await self._writer.close()
            self._lock.release()

    async def _maintain(self, job: Coroutine[None, None, T]) -> T:
        """Let the writer do something other than appending; not while it is reopened or closed."""
        async with self._changing:
            if not self.available:
                job.close()
                raise unavailable(self._reason)
            try:
                return await job
            except sqlite3.Error as failure:
                raise unavailable(reason_of(failure)) from failure

    def _wait_a_turn(self) -> None:
        """Let those append too who were woken, or were just read from a socket: a turn costs less."""
        if self._loop is not None:
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        batch = self._backlog.take()
        if batch is not None and self._loop is not None:
            self._writer.store(batch, self._loop, self._ended)
            return
        self._rest()

    def _ended(self, batch: Batch, failure: Exception | None) -> None:
        if failure is not None:
            self._fail(batch, failure)
            return
        self._acknowledged = batch.last_position
        for waiter in batch.waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._followers:
            self._followers.tell(batch.recorded())
        if self._loop is not None:
            self._loop.call_soon(self._wait_a_turn)

    def _fail(self, batch: Batch, failure: Exception) -> None:
        reason = reason_of(failure)
        error = getattr(failure, "sqlite_errorname", type(failure).__name__)
        notices().error("log_write_failed", reason=reason, error=error)
        self._refuse(reason)
        doomed: Batch | None = batch
        while doomed is not None:
            for waiter in doomed.waiters:
                if not waiter.done():
                    waiter.set_exception(unavailable(reason))
                    waiter.exception()  # marks it as seen: nobody has to await an append
            doomed = self._backlog.take()
        self._rest()

    def _refuse(self, reason: str) -> None:
        if self.available:
            self.available, self._reason = False, reason

    def _rest(self) -> None:
        self._busy = False
        for waiter in self._until_idle:
            if not waiter.done():
                waiter.set_result(None)
        self._until_idle.clear()

    async def _idle(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._move_to(loop)
        if self._busy:
            waiter = loop.create_future()
            self._until_idle.append(waiter)
            await waiter

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve another loop than before. What one left behind that has ended is forgotten until `reopen`."""
        if self._busy:
            if self._loop is not None and not self._loop.is_closed():
                raise RuntimeError("the event log is in use by another event loop")
            self._backlog = Backlog()
            self._until_idle.clear()
            self._busy = False
            self._refuse("the event loop that wrote it has ended")
        self._loop = loop
