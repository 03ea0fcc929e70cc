"""Reading a file that is no log, or not only ours."""

import sqlite3
import sys

import pytest
from log_givens import by_another_program, new, positions, run_of

from apikeyrouter.adapters.eventlog import sqlite_reader
from apikeyrouter.adapters.eventlog.connections import PAGE_BYTES
from apikeyrouter.adapters.eventlog.mapper import EventMappingError
from apikeyrouter.adapters.eventlog.sqlite_log import SqliteLog
from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader, resting_stamp
from apikeyrouter.errors import ConfigurationError, LogUnavailableError


@pytest.fixture
async def closed_path(path):
    """Return a log that was closed with three events in it."""
    log = SqliteLog(path)
    await log.append(run_of("s", 3))
    await log.close()
    return path


class TestWhatIsNoLog:
    def test_a_missing_file_is_named_and_not_created(self, path):
        """A typing error in a path does not end in an empty log."""
        with pytest.raises(ConfigurationError, match=r"log\.db") as told:
            SqliteReader(path)
        assert told.value.param == "database_url"
        assert not list(path.parent.iterdir())

    def test_a_foreign_database_is_refused(self, path):
        """Other programs have tables of stored events too."""
        by_another_program(path, "CREATE TABLE stored_events (x)")
        with pytest.raises(ConfigurationError, match="no event log"):
            SqliteReader(path)

    @pytest.mark.parametrize("content", [b"", b"text" * 2_000])
    def test_a_file_that_is_no_database_is_refused(self, path, content):
        """An empty file holds no log either."""
        path.write_bytes(content)
        with pytest.raises(ConfigurationError):
            SqliteReader(path)


class TestATamperedRow:
    @pytest.mark.parametrize("topic", ["os:system", "antigravity:geohash", "xmlrpc.server"])
    async def test_a_foreign_type_imports_nothing(self, closed_path, topic):
        """A row can name what it likes: the reading stops there and says where."""
        by_another_program(closed_path, "UPDATE stored_events SET topic = ? WHERE notification_id = 2", topic)
        before = set(sys.modules)
        with pytest.raises(EventMappingError, match=r"unknown event type .* version 2 of stream 's'"):
            positions(SqliteReader(closed_path))
        with pytest.raises(EventMappingError):
            SqliteReader(closed_path).stream("s")
        assert set(sys.modules) == before

    async def test_damaged_pages_are_an_outage_not_a_crash(self, closed_path):
        """A file that SQLite cannot read is told in the words of the port."""
        content = bytearray(closed_path.read_bytes())
        content[PAGE_BYTES:] = b"\xff" * (len(content) - PAGE_BYTES)
        closed_path.write_bytes(content)
        with pytest.raises((LogUnavailableError, ConfigurationError)):
            positions(SqliteReader(closed_path))


class TestALogAtRest:
    async def test_what_a_writer_did_under_our_eyes_is_read_again(self, closed_path, monkeypatch):
        """Rows of a file that changed during the reading are thrown away."""
        pages = sqlite_reader.Pages(closed_path)
        log = SqliteLog(closed_path)
        await log.append([new("s", 4)])
        assert resting_stamp(closed_path) is None
        assert pages.select("SELECT count(*) FROM stored_events", ()) == [(4,)]
        pages.close()
        await log.close()
        pages = sqlite_reader.Pages(closed_path)
        log = SqliteLog(closed_path)
        await log.append([new("s", 5)])
        await log.close()
        assert pages.select("SELECT count(*) FROM stored_events", ()) == [(5,)]
        pages.close()

    async def test_an_error_of_half_written_pages_is_no_error(self, closed_path):
        """What SQLite thinks of a file that changed under its hands does not count."""

        class Confused:
            def execute(self, *_):
                raise sqlite3.DatabaseError

            def close(self):
                pass

        pages = sqlite_reader.Pages(closed_path)
        pages.close()
        log = SqliteLog(closed_path)
        await log.append([new("s", 4)])
        await log.close()
        pages._connection = Confused()
        assert pages.select("SELECT count(*) FROM stored_events", ()) == [(4,)]
        pages._connection = Confused()
        with pytest.raises(LogUnavailableError):
            pages.select("SELECT count(*) FROM stored_events", ())

    async def test_a_file_that_never_rests_is_given_up(self, closed_path, monkeypatch):
        """Retrying has an end."""
        stamps = iter(range(10_000))
        monkeypatch.setattr(sqlite_reader, "resting_stamp", lambda path: (next(stamps),))
        with pytest.raises(LogUnavailableError, match="all the time"):
            positions(SqliteReader(closed_path))

    async def test_a_crashed_copy_without_its_index_is_refused_but_not_touched(self, path, tmp_path):
        """A write-ahead file that SQLite could only read by creating files stays as it is."""
        log = SqliteLog(path)
        await log.append([new("s", 1)])
        copy = tmp_path / "copy.db"
        copy.write_bytes(path.read_bytes())
        copy.with_name("copy.db-wal").write_bytes(path.with_name("log.db-wal").read_bytes())
        await log.close()
        with pytest.raises(ConfigurationError):
            SqliteReader(copy)
        assert not copy.with_name("copy.db-shm").exists()
        log = SqliteLog(copy)
        assert positions(log) == [1]
        await log.close()

    async def test_an_empty_write_ahead_file_alone_is_rest(self, closed_path):
        """What an unlucky reader left behind keeps the next one from nothing."""
        closed_path.with_name("log.db-wal").touch()
        assert positions(SqliteReader(closed_path)) == [1, 2, 3]
