"""The one thread that writes a log: batches, and in between what must happen on its connection."""

import asyncio
import concurrent.futures
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from queue import SimpleQueue
from typing import TypeVar

from apikeyrouter.adapters.eventlog.backlog import Batch
from apikeyrouter.adapters.eventlog.connections import BUSY_S, WriterSettings, cap, open_writer, probe
from apikeyrouter.domain.models.system_error import ConflictError
from apikeyrouter.limits import MOST_BATCH_EVENTS

T = TypeVar("T")
Ended = Callable[[Batch, Exception | None], None]
_COLUMNS = 5
_WIPE_BUSY_MS = 20
_DELETE = "DELETE FROM stored_events WHERE notification_id BETWEEN ? AND ?"


class LogWriter:
    """Runs one job after the other; the event loop hands them in and is told of each batch's end."""

    def __init__(self, settings: WriterSettings) -> None:
        self._settings = settings
        self._connection, self.first_head = open_writer(settings, create=True)
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="event-log-writer", daemon=True)
        self._thread.start()

    def store(self, batch: Batch, loop: asyncio.AbstractEventLoop, ended: Ended) -> None:
        """Store a batch in one transaction, then call `ended` in the loop's thread."""
        self._jobs.put(partial(self._store, batch, loop, ended))

    def limit_pages(self, max_pages: int | None) -> None:
        """Cap the size of the file, behind the batches that were handed in before."""
        self._jobs.put(partial(self._limit_pages, max_pages))

    async def reopen(self, acknowledged: int) -> int:
        """Take a fresh connection and prove that it writes; return the position of the last stored event."""
        return await self._ask(partial(self._reopen, acknowledged))

    async def remove(self, runs: Sequence[tuple[int, int]]) -> None:
        """Delete the rows from one position to another, for each such range, in one transaction."""
        await self._ask(partial(self._remove, runs))

    async def wipe(self) -> bool:
        """Move everything into the main file and empty the write-ahead file; False if somebody reads it."""
        return await self._ask(self._wipe)

    async def close(self) -> None:
        """Move everything into the main file, close the connection, end the thread."""
        await self._ask(self._close)
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    async def _ask(self, job: Callable[[], T]) -> T:
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._jobs.put(partial(_answer, answer, job))
        return await asyncio.wrap_future(answer)

    def _store(self, batch: Batch, loop: asyncio.AbstractEventLoop, ended: Ended) -> None:
        failure = None
        try:
            insert(self._connection, batch.values)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(ended, batch, failure)

    def _limit_pages(self, max_pages: int | None) -> None:
        self._settings = self._settings._replace(max_pages=max_pages)
        with contextlib.suppress(sqlite3.Error):  # a broken connection: the next one gets the cap
            cap(self._connection, max_pages)

    def _reopen(self, acknowledged: int) -> int:
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        self._connection, head = open_writer(self._settings, create=False)
        probe(self._connection)
        if head < acknowledged:
            raise ConflictError(f"the log ends at position {head}, but {acknowledged} was acknowledged")
        return head

    def _remove(self, runs: Sequence[tuple[int, int]]) -> None:
        connection = self._connection
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_DELETE, runs)

    def _wipe(self) -> bool:
        connection = self._connection
        connection.execute(f"PRAGMA busy_timeout = {_WIPE_BUSY_MS}")  # batches wait behind this
        try:
            is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
        return not is_busy

    def _close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()


def insert(connection: sqlite3.Connection, values: list[object]) -> None:
    """Insert rows in one transaction.

    A batch is one statement, so the thread gives the interpreter up once and takes it back once, whatever the
    number of rows. Positions are inserted, not drawn: one that is taken fails the whole transaction.
    """
    most = MOST_BATCH_EVENTS * _COLUMNS
    if len(values) <= most:
        if values:
            connection.execute(insert_sql(len(values) // _COLUMNS), values)
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for first in range(0, len(values), most):
            chunk = values[first : first + most]
            connection.execute(insert_sql(len(chunk) // _COLUMNS), chunk)


@lru_cache(maxsize=MOST_BATCH_EVENTS)
def insert_sql(rows: int) -> str:
    """Return the statement for a number of rows; SQLite keeps it prepared."""
    places = ",".join(["(?,?,?,?,?)"] * rows)
    return f"INSERT INTO stored_events VALUES {places}"  # noqa: S608 - question marks alone are put in


def _answer(answer: concurrent.futures.Future[T], job: Callable[[], T]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        answer.set_result(job())
    except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
        answer.set_exception(error)
