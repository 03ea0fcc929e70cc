"""Real processes on one file: killed in the middle of work, refused as second writers, read beside."""

import fcntl
import itertools
import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest
from log_givens import files_in, new, positions

from apikeyrouter.adapters.eventlog import lock
from apikeyrouter.adapters.eventlog.lock import LogOwner, lock_path, read_owner
from apikeyrouter.adapters.eventlog.sqlite_log import SqliteLog
from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.errors import LogLockedError

SCRIPT = Path(__file__).with_name("writing_process.py")
URL = "http://127.0.0.1:8000"


class Writer:
    """A process that writes a log."""

    def __init__(self, path: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT, path, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def lines(self, count: int) -> list[str]:
        """Wait for that many lines."""
        return [line.strip() for line in itertools.islice(self.process.stdout, count)]

    def kill(self) -> list[str]:
        """Kill without warning; return the lines that were still on their way."""
        self.process.send_signal(signal.SIGKILL)
        rest, _ = self.process.communicate(timeout=10)
        return [line for line in rest.split("\n") if line]

    def end(self) -> None:
        """Let it close the log and end."""
        self.process.communicate(timeout=10)


@pytest.fixture
def start(path):
    """Start writers; none outlives the test."""
    started = []

    def run(*arguments):
        started.append(Writer(path, *arguments))
        return started[-1]

    yield run
    for writer in started:
        if writer.process.poll() is None:
            writer.kill()


def by_stream(events):
    """Return the events of each stream, in order of position."""
    streams = defaultdict(list)
    for recorded in events:
        streams[recorded.stream].append(recorded)
    return streams


def assert_whole(streams) -> None:
    """Versions have no gap, and each append is there with all of its events or not at all."""
    for events in streams.values():
        assert [event.version for event in events] == list(range(1, len(events) + 1))
        at = 0
        while at < len(events):
            count = events[at].event.outage_us
            append = events[at : at + count]
            assert [event.event.at_us for event in append] == list(range(count))
            assert [event.position for event in append] == list(
                range(append[0].position, append[0].position + count)
            )
            at += count


class TestKilled:
    @pytest.mark.parametrize("acknowledged", [1, 200, 3_000])
    async def test_what_was_acknowledged_is_stored_and_nothing_is_half(self, start, path, acknowledged):
        """After kill -9 with 64 tasks in flight the log is whole, and the next writer goes on behind it."""
        for _ in range(2):
            writer = start("telling")
            lines = writer.lines(acknowledged) + writer.kill()
            told = {}
            for line in lines:
                stream, version = line.split()
                told[stream] = int(version)
            events = list(SqliteReader(path).read())
            streams = by_stream(events)
            assert [event.position for event in events] == list(range(1, len(events) + 1))
            assert all(len(streams[stream]) >= version for stream, version in told.items())
            assert_whole(streams)
        log = SqliteLog(path)
        assert log.head == len(events)
        await log.append([new("after", 1)])
        assert positions(log) == list(range(1, len(events) + 2))
        await log.close()


class TestLocked:
    def test_a_second_writer_is_refused_and_told_who_writes(self, start, path):
        """The message names the process and the way out; the first one is not disturbed."""
        writer = start("hold", URL)
        writer.lines(1)
        with pytest.raises(LogLockedError) as refused:
            SqliteLog(path)
        for part in (f"process {writer.process.pid}", "PostgreSQL", "Reading commands work beside it"):
            assert part in str(refused.value)
        writer.end()
        assert positions(SqliteReader(path)) == [1]

    def test_another_name_of_the_file_is_the_same_file(self, start, path, tmp_path):
        """A link does not lead past the lock."""
        start("hold", URL).lines(1)
        link = tmp_path / "link.db"
        link.symlink_to(path)
        with pytest.raises(LogLockedError):
            SqliteLog(link)
        assert read_owner(link).url == URL

    async def test_one_process_does_not_open_it_twice_either(self, path, sqlite_log):
        """Two logs in one process would overwrite each other's positions just the same."""
        with pytest.raises(LogLockedError, match=f"process {os.getpid()}"):
            SqliteLog(path)
        await sqlite_log.append([new("s", 1)])

    async def test_the_owner_can_be_found_while_it_lives(self, start, path):
        """Tools read who writes and where it serves; after kill -9 nobody does, and the log can be opened."""
        assert read_owner(path) is None
        writer = start("hold", URL)
        writer.lines(1)
        assert read_owner(path) == LogOwner(writer.process.pid, URL)
        writer.kill()
        assert lock_path(path).read_bytes()
        assert read_owner(path) is None
        log = SqliteLog(path)
        assert read_owner(path) == LogOwner(os.getpid(), None)
        await log.close()
        assert read_owner(path) is None

    async def test_asking_who_is_there_keeps_nobody_out(self, path, monkeypatch):
        """A tool that holds the lock for the instant of its question only delays a server's start."""
        lock_path(path).touch()
        with lock_path(path).open() as asking:
            fcntl.flock(asking, fcntl.LOCK_SH)
            monkeypatch.setattr(lock.time, "sleep", lambda _: fcntl.flock(asking, fcntl.LOCK_UN))
            await SqliteLog(path).close()

    @pytest.mark.parametrize("content", [b"", b'{"pid":"x"}\n', b"\xff" * 10_000])
    async def test_an_unreadable_owner_is_another_process(self, path, sqlite_log, content):
        """Whatever stands in the lock file, the refusal is the same."""
        lock_path(path).write_bytes(content)
        assert read_owner(path) is None
        with pytest.raises(LogLockedError, match="another process"):
            SqliteLog(path)


class TestReadBeside:
    def test_a_reader_leaves_no_trace(self, start, path):
        """Running, killed or closed: reading creates no file and changes none that holds events."""
        writer = start("hold", URL)
        writer.lines(1)
        for end in (lambda: None, writer.kill):
            end()
            before = files_in(path.parent)
            assert positions(SqliteReader(path)) == [1]
            after = files_in(path.parent)
            index = {"log.db-shm": b""}  # not part of the log: readers note there what they are reading
            assert after | index == before | index
        start("hold", URL).end()
        before = files_in(path.parent)
        assert set(before) == {"log.db", "log.db.lock"}
        assert positions(SqliteReader(path)) == [1, 2]
        assert files_in(path.parent) == before

    def test_a_reader_follows_a_writer_under_way(self, start, path):
        """Pages read while another process commits and checkpoints are complete and in order."""
        writer = start("silent")
        writer.lines(1)
        seen = 0
        for _ in range(10_000):
            for recorded in SqliteReader(path).read(after=seen, until=20_000):
                assert recorded.position == seen + 1
                seen += 1
            if seen == 20_000:
                break
        writer.kill()
        assert seen == 20_000
        assert_whole(by_stream(SqliteReader(path).read()))

    @pytest.mark.parametrize("resting", ["closed", "killed"])
    def test_a_reader_that_began_before_the_writer_sees_it_come_and_go(self, start, path, resting):
        """A half-read log may be opened, written, checkpointed and closed meanwhile."""
        writer = start("telling")
        writer.lines(2_000)
        writer.kill()
        if resting == "closed":
            start("hold", URL).end()
        reading = SqliteReader(path).read()
        stored = len(positions(SqliteReader(path)))
        seen = [next(reading).position for _ in range(600)]
        begun = start("telling")
        begun.lines(2_000)
        seen += [next(reading).position for _ in range(600)]
        begun.kill()
        seen += [next(reading).position for _ in range(600)]
        start("hold", URL).end()
        seen += [recorded.position for recorded in reading]
        assert seen == list(range(1, len(seen) + 1))
        assert len(seen) > stored + 2_000

    def test_an_owner_in_the_lock_file_is_json(self, start, path):
        """Programs in other languages can find the server too."""
        writer = start("hold", URL)
        writer.lines(1)
        assert msgspec.json.decode(lock_path(path).read_bytes()) == {"pid": writer.process.pid, "url": URL}
