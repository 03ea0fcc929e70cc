"""When the disk does not take it: refused at once, nothing lost, and writable again without a restart."""

import asyncio
import contextlib
import resource
import shutil
import sqlite3
import threading
from unittest.mock import Mock

import pytest
from log_givens import append_until_refused, by_another_program, new, positions, run_of

from apikeyrouter.adapters.eventlog import backlog
from apikeyrouter.adapters.eventlog.connections import (
    PAGE_BYTES,
    WriterSettings,
    open_writer,
    sqlite_warnings,
    wal_path,
)
from apikeyrouter.adapters.eventlog.lock import read_owner
from apikeyrouter.adapters.eventlog.sqlite_log import SqliteLog
from apikeyrouter.adapters.eventlog.sqlite_reader import Pages
from apikeyrouter.adapters.eventlog.writer import insert
from apikeyrouter.errors import ConfigurationError, ConflictError, LogUnavailableError


@contextlib.contextmanager
def files_no_larger_than(limit_bytes: int):
    """Let writes beyond a size fail, as a broken disk does; larger files can still be read."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestWhenTheCapIsReached:
    async def test_what_was_acknowledged_is_all_there_is(self, sqlite_log):
        """The append that found no room left nothing behind."""
        sqlite_log.limit_pages(0)
        acknowledged = await append_until_refused(sqlite_log)
        assert positions(sqlite_log) == list(range(1, acknowledged + 1))

    async def test_the_reason_is_told_without_a_path(self, sqlite_log, path):
        """The message may leave the process."""
        sqlite_log.limit_pages(0)
        await append_until_refused(sqlite_log)
        with pytest.raises(LogUnavailableError, match="full, or the cap") as told:
            sqlite_log.append([new("s", 1)])
        assert str(path.parent) not in str(told.value)

    async def test_reopening_fails_while_there_is_no_room(self, sqlite_log):
        """The probe needs pages as events do, so it is not fooled by a file that opens."""
        sqlite_log.limit_pages(0)
        await append_until_refused(sqlite_log)
        for _ in range(3):
            with pytest.raises(LogUnavailableError, match="full, or the cap"):
                await sqlite_log.reopen()
            assert not sqlite_log.available

    async def test_with_room_again_it_goes_on_without_a_gap(self, sqlite_log):
        """The probe leaves no event and takes no position."""
        sqlite_log.limit_pages(0)
        acknowledged = await append_until_refused(sqlite_log)
        sqlite_log.limit_pages(None)
        await sqlite_log.reopen()
        assert sqlite_log.head == acknowledged
        await sqlite_log.append(run_of("filling", 500, acknowledged + 1, size=900))
        assert positions(sqlite_log) == list(range(1, acknowledged + 501))

    async def test_an_append_that_is_too_large_is_not_stored_in_part(self, path):
        """An append of several statements is undone as a whole."""
        log = SqliteLog(path, max_pages=60)  # room for some of its statements
        with pytest.raises(LogUnavailableError):
            await log.append(run_of("s", 700, size=900))
        assert positions(log) == []
        await log.reopen()
        await log.append(run_of("s", 10))
        assert positions(log) == list(range(1, 11))
        await log.close()

    async def test_the_cap_of_the_constructor_is_kept_by_reopening(self, path):
        """A fresh connection is capped as the first one was."""
        log = SqliteLog(path, max_pages=60)
        await append_until_refused(log)
        with pytest.raises(LogUnavailableError):
            await log.reopen()
        await log.close()
        assert path.stat().st_size <= 60 * PAGE_BYTES

    async def test_everything_behind_the_failed_batch_fails_too(self, sqlite_log):
        """What was queued in the meantime would stand behind a hole."""
        sqlite_log.limit_pages(0)
        pending = [sqlite_log.append(run_of(f"s{number}", 50, size=900)) for number in range(40)]
        ends = await asyncio.gather(*pending, return_exceptions=True)
        stored = ends.count(None)
        assert stored < 40
        assert all(isinstance(end, LogUnavailableError) for end in ends[stored:])
        assert positions(sqlite_log) == list(range(1, stored * 50 + 1))


class TestWhenTheDiskFails:
    async def test_an_acknowledged_event_survives_and_service_comes_back(self, sqlite_log):
        """Writes that the operating system refuses end in the same refusal and the same recovery."""
        await sqlite_log.append(run_of("before", 200, size=900))
        with files_no_larger_than(64 * 1024):
            acknowledged = 200 + await append_until_refused(sqlite_log)
            with pytest.raises(LogUnavailableError):
                sqlite_log.append([new("s", 1)])
            with pytest.raises(LogUnavailableError):
                await sqlite_log.reopen()
        await sqlite_log.reopen()
        await sqlite_log.append([new("after", 1)])
        stored = positions(sqlite_log)
        assert stored == list(range(1, len(stored) + 1))
        assert len(stored) > acknowledged

    async def test_a_file_that_vanished_is_not_replaced_by_an_empty_log(self, path):
        """History that is gone is an outage, not a fresh start."""
        log = SqliteLog(path)
        await log.append([new("s", 1)])
        with pytest.raises(LogUnavailableError):
            await log.append([new("s", 1)])
        path.rename(path.with_name("moved"))
        with pytest.raises(LogUnavailableError, match="cannot be opened"):
            await log.reopen()
        assert not path.exists()
        path.with_name("moved").rename(path)
        await log.reopen()
        await log.close()

    async def test_a_file_that_was_rolled_back_is_not_written(self, path, tmp_path):
        """What was acknowledged must be in the file that is written next."""
        log = SqliteLog(path)
        await log.append([new("s", 1)])
        await log.close()
        shutil.copy(path, tmp_path / "yesterday")
        log = SqliteLog(path)
        await log.append([new("s", 2)])
        with pytest.raises(LogUnavailableError):
            await log.append([new("s", 2)])
        path.with_name(path.name + "-wal").unlink()
        path.with_name(path.name + "-shm").unlink()
        shutil.move(tmp_path / "yesterday", path)
        with pytest.raises(LogUnavailableError, match="ends at position 1, but 2 was acknowledged"):
            await log.reopen()
        await log.close()


class TestWhenOthersTouchTheFile:
    async def test_a_position_that_somebody_took_is_not_taken_twice(self, sqlite_log, path):
        """An event that came past the lock is noticed before anything is stored at a wrong position."""
        await sqlite_log.append([new("s", 1)])
        by_another_program(
            path, "INSERT INTO stored_events SELECT 2, 'theirs', 1, topic, state FROM stored_events"
        )
        with pytest.raises(LogUnavailableError, match="place of an event is taken"):
            await sqlite_log.append([new("s", 2)])
        await sqlite_log.reopen()
        await sqlite_log.append([new("s", 2)])
        assert [(r.position, r.stream) for r in sqlite_log.read()] == [(1, "s"), (2, "theirs"), (3, "s")]

    async def test_a_log_whose_last_events_were_deleted_is_not_written(self, path):
        """A cut end would be covered up by the next event."""
        log = SqliteLog(path)
        await log.append(run_of("s", 3))
        await log.close()
        by_another_program(path, "DELETE FROM stored_events WHERE notification_id = 3")
        with pytest.raises(ConflictError, match="ends at position 2 but has held 3"):
            SqliteLog(path)
        with pytest.raises(ConflictError):  # and not: locked by the first attempt
            SqliteLog(path)

    @pytest.mark.parametrize("content", [b"not a database, but longer than a header" * 99, None])
    def test_a_file_of_another_program_is_left_alone(self, path, content):
        """Neither text nor a foreign database becomes a log."""
        if content is None:
            by_another_program(path, "CREATE TABLE theirs (x)")
        else:
            path.write_bytes(content)
        before = path.read_bytes()
        with pytest.raises(ConfigurationError, match=r"log\.db is no event log .* name another file") as told:
            SqliteLog(path)
        assert told.value.param == "database_url"
        assert path.read_bytes() == before

    def test_a_folder_is_no_file(self, tmp_path):
        """It is told what to name instead."""
        with pytest.raises(ConfigurationError, match="it is a folder: name a file in it"):
            SqliteLog(tmp_path)

    def test_a_log_of_somebody_else_is_told_so(self, path, monkeypatch):
        """The library says only that it was unable to open it."""
        refused = sqlite3.OperationalError("unable to open database file")
        refused.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        monkeypatch.setattr(sqlite3, "connect", Mock(side_effect=refused))
        with pytest.raises(ConfigurationError, match="must be allowed to read it"):
            SqliteLog(path)

    def test_a_folder_that_does_not_exist_is_named(self, tmp_path):
        """Where nothing can be created, the start says so."""
        with pytest.raises(ConfigurationError, match="nowhere"):
            SqliteLog(tmp_path / "nowhere" / "log.db")


class TestWhenTooMuchWaits:
    async def test_appending_is_refused_until_the_writer_has_caught_up(self, sqlite_log, monkeypatch):
        """The queue is bounded; what was let in is stored, what was refused took no position."""
        monkeypatch.setattr(backlog, "MOST_QUEUED_EVENTS", 100)
        pending = [sqlite_log.append(run_of(f"s{number}", 10)) for number in range(10)]
        with pytest.raises(LogUnavailableError, match="too many events wait"):
            sqlite_log.append([new("late", 1)])
        assert sqlite_log.available
        await asyncio.gather(*pending)
        await sqlite_log.append([new("late", 1)])
        assert positions(sqlite_log) == list(range(1, 102))


class TestWhenTheLoopChanges:
    def test_a_log_outlives_a_loop(self, path):
        """Each `asyncio.run` has a loop of its own; an idle log serves them one after the other."""
        log = SqliteLog(path)

        async def append(version):
            await log.append([new("s", version)])

        for version in (1, 2, 3):
            asyncio.run(append(version))
        assert positions(log) == [1, 2, 3]
        asyncio.run(log.close())

    def test_what_an_ended_loop_left_behind_is_settled_by_reopening(self, path):
        """Nobody can be told of its end any more, so the log starts again from what is stored."""
        log = SqliteLog(path)

        async def append_and_go():
            for number in range(30):
                log.append(run_of(f"s{number}", 50))

        async def go_on():
            with pytest.raises(LogUnavailableError, match="loop"):
                log.append([new("t", 1)])
            await log.reopen()
            await log.append([new("t", 1)])
            await log.close()

        asyncio.run(append_and_go())
        asyncio.run(go_on())
        stored = list(log.read())
        assert [recorded.position for recorded in stored] == list(range(1, len(stored) + 1))
        assert stored[-1].stream == "t"
        assert len(stored) % 50 == 1


class TestWhenWaitingIsCancelled:
    async def test_a_close_that_was_given_up_can_be_repeated(self, path):
        """Neither the writer's thread nor the lock is lost to a cancellation."""
        log, held_up = SqliteLog(path), threading.Event()
        await log.append([new("s", 1)])
        log._writer._jobs.put(held_up.wait)
        while not log._writer._jobs.empty():
            await asyncio.sleep(0)
        closing = asyncio.create_task(log.close())
        while log._writer._jobs.empty():
            await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        held_up.set()
        async with asyncio.timeout(5):
            await log.close()
        assert read_owner(path) is None
        assert positions(log) == [1]


class TestReopeningWithoutNeed:
    async def test_the_connection_is_left_alone(self, sqlite_log):
        """What is appended while a needless `reopen` runs must not find positions set back."""
        held_up = threading.Event()
        sqlite_log._writer._jobs.put(held_up.wait)
        try:
            async with asyncio.timeout(5):
                await sqlite_log.reopen()
        finally:
            held_up.set()


class TestGrouping:
    @pytest.fixture
    def batches(self, sqlite_log, monkeypatch):
        """Return the batches that reach the writer."""
        batches = []
        store = sqlite_log._writer.store
        monkeypatch.setattr(
            sqlite_log._writer, "store", lambda batch, *rest: (batches.append(batch), store(batch, *rest))
        )
        return batches

    async def test_appends_of_one_turn_share_a_transaction(self, sqlite_log, batches):
        """Sixty-four tasks that wait for the disk wait once."""
        await asyncio.gather(*(sqlite_log.append([new(f"s{number}", 1)]) for number in range(64)))
        assert [len(batch.events) for batch in batches] == [64]

    async def test_those_of_the_next_turn_go_along(self, sqlite_log, batches):
        """A request that was just being read when the first one appended shares its commit."""
        first = sqlite_log.append([new("a", 1)])
        await asyncio.sleep(0)
        await asyncio.gather(first, sqlite_log.append([new("b", 1)]))
        assert [len(batch.events) for batch in batches] == [2]

    @pytest.mark.parametrize(("synchronous", "level"), [("FULL", 2), ("NORMAL", 1)])
    async def test_the_writer_is_as_durable_as_asked(self, path, synchronous, level):
        """FULL is the default and syncs each commit; NORMAL must be asked for."""
        log = SqliteLog(path, synchronous=synchronous) if synchronous != "FULL" else SqliteLog(path)
        connection = log._writer._connection
        assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        await log.close()

    def test_few_variables_a_statement_suffice(self, path):
        """The largest append goes through a SQLite that was built with small limits."""
        connection, _ = open_writer(WriterSettings(path, "NORMAL"), create=True)
        with contextlib.closing(connection):
            connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 1_000)
            insert(connection, [value for row in range(1, 951) for value in (row, "s", row, "t", b"")])
            assert connection.execute("SELECT count(*) FROM stored_events").fetchone() == (950,)


class TestTheFileOfAClosedLog:
    async def test_closing_beside_a_reader_moves_everything_into_the_main_file(self, path):
        """SQLite itself would leave it to the last connection, and the reader's must not."""
        log = SqliteLog(path)
        await log.append(run_of("s", 10))
        with contextlib.closing(Pages(path)) as reader:
            reader.select("SELECT count(*) FROM stored_events", ())
            await log.close()
            assert wal_path(path).stat().st_size == 0

    async def test_closing_leaves_one_file_and_the_lock(self, path):
        """A log at rest is in its main file alone, ready to be copied."""
        log = SqliteLog(path)
        await log.append(run_of("s", 100))
        await log.close()
        assert sorted(file.name for file in path.parent.iterdir()) == ["log.db", "log.db.lock"]
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM stored_events").fetchone() == (100,)


@pytest.mark.parametrize(
    ("version", "warned"),
    [
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 0), False),
        ((4, 0, 0), False),
    ],
)
def test_a_sqlite_that_can_damage_files_is_warned_of(version, warned):
    """The fix is in 3.51.3 and two releases before it."""
    warnings = sqlite_warnings(version)
    assert bool(warnings) is warned
    assert all(".".join(map(str, version)) in warning for warning in warnings)
