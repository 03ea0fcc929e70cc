"""Our table under the library's own tests of recorders, and the library on a log that we wrote."""

import contextlib
import itertools
import sqlite3
import sys
import tempfile
import threading
from pathlib import Path
from uuid import uuid4

import eventsourcing.cryptography
import pytest
from eventsourcing.application import Application
from eventsourcing.persistence import InfrastructureFactory, StoredEvent
from log_givens import by_another_program, run_of

from apikeyrouter.adapters.eventlog import recorder as recorder_module
from apikeyrouter.adapters.eventlog.mapper import to_stored
from apikeyrouter.adapters.eventlog.recorder import LogDatastore, LogFactory, LogRecorder
from apikeyrouter.adapters.eventlog.sqlite_log import SqliteLog

# The suite imports a cipher that wants pycryptodome; the library has the same one on `cryptography`.
sys.modules.setdefault("eventsourcing.cipher", eventsourcing.cryptography)
from eventsourcing.tests import persistence as suite  # noqa: E402 - only now can it be imported


def recorder_at(path: Path, **options) -> LogRecorder:
    recorder = LogRecorder(LogDatastore(str(path), **options))
    recorder.create_table()
    return recorder


class InFreshFile:
    """Gives each of the suite's tests a recorder on a new file, with streams that are named by text."""

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.recorder = recorder_at(Path(folder, "log.db"))
        self.before = set(threading.enumerate())
        self.addCleanup(self.close)

    def close(self):
        # The suite's readers may still be in the middle of a query when its test ends.
        for thread in set(threading.enumerate()) - self.before:
            thread.join()
        self.recorder.datastore.close()

    def new_originator_id(self):
        return f"request-{uuid4().hex}"

    def create_recorder(self):
        return self.recorder


class TestApplicationRecorder(InFreshFile, suite.ApplicationRecorderTestCase):
    """The library's contract, subscriptions included."""

    def test_insert_subscribe(self):
        self.optional_test_insert_subscribe()


class TestPositionsDoNotInterleave(InFreshFile, suite.NonInterleavingNotificationIDsBaseCase):
    """Events that are stored together stand together."""


class TestPositions:
    def test_a_position_is_never_given_out_twice(self, tmp_path):
        """Deleting the last event leaves a gap that shows, and VACUUM does not close it."""
        path = tmp_path / "log.db"
        recorder = recorder_at(path)
        assert recorder.insert_events([StoredEvent("s", v, "t", b"") for v in (1, 2, 3)]) == [1, 2, 3]
        by_another_program(path, "DELETE FROM stored_events WHERE notification_id = 3")
        by_another_program(path, "VACUUM")
        assert recorder.insert_events([StoredEvent("s", 4, "t", b"")]) == [4]
        assert [n.id for n in recorder.select_notifications(None, 10)] == [1, 2, 4]


class TestSubscriptions:
    def test_events_of_another_writer_are_found(self, tmp_path):
        """A subscription also delivers what its own recorder has not stored."""
        path = tmp_path / "log.db"
        recorder, other = recorder_at(path), recorder_at(path)
        with recorder.subscribe() as subscription:
            other.insert_events([StoredEvent("s", 1, "t", b"x")])
            assert next(subscription).state == b"x"

    @pytest.mark.parametrize("end", ["stored", "stopped"])
    def test_one_that_waits_is_woken_at_once(self, tmp_path, monkeypatch, end):
        """What its recorder stores is delivered, and `stop` ends it, without waiting for the next look."""
        monkeypatch.setattr(recorder_module, "_POLL_S", 60.0)
        recorder, looked, delivered = recorder_at(tmp_path / "log.db"), threading.Event(), []
        select = recorder.select_notifications

        def select_and_tell(*arguments, **options):
            try:
                return select(*arguments, **options)
            finally:
                looked.set()

        monkeypatch.setattr(recorder, "select_notifications", select_and_tell)
        subscription = recorder.subscribe()
        waiting = threading.Thread(
            target=lambda: delivered.extend(itertools.islice(subscription, 1)), daemon=True
        )
        waiting.start()
        assert looked.wait(10)
        if end == "stored":
            recorder.insert_events([StoredEvent("s", 1, "t", b"x")])
        else:
            subscription.stop()
        waiting.join(10)
        assert not waiting.is_alive()
        assert len(delivered) == (end == "stored")


class TestDurability:
    @pytest.mark.parametrize(("synchronous", "level"), [("FULL", 2), ("NORMAL", 1)])
    def test_connections_are_as_durable_as_asked(self, tmp_path, synchronous, level):
        """The library's pool opens connections with our level of durability."""
        datastore = LogDatastore(str(tmp_path / "log.db"), synchronous=synchronous)
        with datastore.transaction(commit=False) as cursor:
            cursor.execute("PRAGMA synchronous")
            assert cursor.fetchone()[0] == level


class TestTheLibraryOnOurLog:
    async def test_it_reads_what_we_wrote_and_we_read_what_it_wrote(self, path):
        """The writer's short way into the table ends where the recorder's long one does."""
        log = SqliteLog(path)
        ours = run_of("request-a", 3)
        await log.append(ours)
        await log.close()
        recorder = recorder_at(path)
        stored = recorder.select_events("request-a")
        assert [(s.originator_version, s.topic, s.state) for s in stored] == [
            (event.version, *to_stored(event.event)) for event in ours
        ]
        theirs = run_of("request-b", 2)
        positions = recorder.insert_events([StoredEvent(s, v, *to_stored(e)) for s, v, e in theirs])
        recorder.datastore.close()
        log = SqliteLog(path)
        assert positions == [4, 5]
        assert log.head == 5
        assert [recorded[1:] for recorded in log.read(after=3)] == theirs
        await log.close()

    def test_its_applications_find_our_recorder_by_name(self, path):
        """`PERSISTENCE_MODULE` names our factory; whatever it builds keeps to our table."""
        environment = {
            "PERSISTENCE_MODULE": "apikeyrouter.adapters.eventlog.recorder:LogFactory",
            "SQLITE_DBNAME": str(path),
            "SQLITE_SYNCHRONOUS": "normal",
        }
        with contextlib.closing(Application(env=environment)) as application:
            assert isinstance(application.factory, LogFactory)
            assert isinstance(application.recorder, LogRecorder)
            with contextlib.closing(sqlite3.connect(path)) as connection:
                columns = [row[1] for row in connection.execute("PRAGMA table_info(stored_events)")]
            assert columns[0] == "notification_id"

    def test_an_unknown_durability_is_refused(self, path):
        """Nothing falls back to less than was asked for."""
        with pytest.raises(OSError, match="SQLITE_SYNCHRONOUS"):
            InfrastructureFactory.construct(
                {
                    "PERSISTENCE_MODULE": "apikeyrouter.adapters.eventlog.recorder:LogFactory",
                    "SQLITE_DBNAME": str(path),
                    "SQLITE_SYNCHRONOUS": "OFF",
                }
            )
