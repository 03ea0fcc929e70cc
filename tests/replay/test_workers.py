"""Processes that share a pass over the log: they find what one finds, or it is an error, and none is left."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import worker_parts
from loopback import eventually

from apikeyrouter.adapters.eventlog.mapper import EventMappingError
from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.workers import verification, what_ifs
from apikeyrouter.adapters.workers.processes import WorkerDiedError, in_processes, processors
from apikeyrouter.adapters.workers.reading import TELLS_EVERY, telling
from apikeyrouter.adapters.workers.verification import verify_in_processes
from apikeyrouter.adapters.workers.what_ifs import what_if_in_processes
from apikeyrouter.application.replay import verify
from apikeyrouter.application.what_if import Change, Stretch, what_if
from apikeyrouter.domain.events import Recorded, RouteDecided, canonical_bytes
from apikeyrouter.domain.models.system_error import NotFoundError
from apikeyrouter.domain.objectives import policy_of


def nobody(_count: int) -> None:
    """Hear nothing."""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


async def started(folder: Path, work: str) -> tuple[subprocess.Popen, list[int]]:
    """Start two workers that never end, from a process of their own."""
    marks = [str(folder / name) for name in ("one", "two")]
    process = subprocess.Popen(  # noqa: ASYNC220 - it is not waited for
        [sys.executable, worker_parts.__file__, work, *marks],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    await eventually(lambda: len(pids(folder)) == 2, 30)
    return process, pids(folder)


def pids(folder: Path) -> list[int]:
    return [int(one.name.rsplit("-", 1)[1]) for one in folder.iterdir()]


@pytest.fixture
def forged_log(log_file, history, tmp_path) -> Path:
    """A log in which two decisions, one early and one late, were rewritten in their rows."""
    shutil.copy(log_file, tmp_path / "forged.db")
    decided = [one for one in history if isinstance(one.event, RouteDecided)]
    with sqlite3.connect(tmp_path / "forged.db") as connection:
        for one in (decided[3], decided[-3]):
            state = canonical_bytes(msgspec.structs.replace(one.event, eligible=99))
            connection.execute(
                "UPDATE stored_events SET state = ? WHERE notification_id = ?", (state, one.position)
            )
    connection.close()
    return tmp_path / "forged.db"


class TestVerify:
    @pytest.mark.parametrize("workers", [2, 3])
    def test_the_same_differences_in_the_same_order(self, forged_log, workers):
        """The object is the one that a single pass gives, to the first difference and its fields."""
        reader = SqliteReader(forged_log)
        found = verify_in_processes(forged_log, 1, reader.head(), workers, nobody)
        assert found == verify(reader.read())
        assert found.different == 2

    def test_a_range_in_the_middle(self, forged_log):
        """Each part folds what comes before it, and compares only its own."""
        end = SqliteReader(forged_log).head() - 40
        found = verify_in_processes(forged_log, 40, end, 2, nobody)
        assert found == verify(SqliteReader(forged_log).read(until=end), first=40, last=end)

    def test_what_cannot_be_read_is_the_error_that_one_process_meets(self, log_file, tmp_path):
        """A damaged row near the end refuses the whole; the parts before it count for nothing."""
        shutil.copy(log_file, tmp_path / "damaged.db")
        end = SqliteReader(log_file).head()
        with sqlite3.connect(tmp_path / "damaged.db") as connection:
            connection.execute("UPDATE stored_events SET state = x'00' WHERE notification_id = ?", (end - 1,))
        connection.close()
        with pytest.raises(EventMappingError, match="undecodable"):
            verify_in_processes(tmp_path / "damaged.db", 1, end, 2, nobody)

    def test_a_short_range_is_left_to_one(self):
        """A process costs more to start than little work takes."""
        least = verification.LEAST_POSITIONS_A_WORKER
        assert verification.worth_sharing(1, least, 8) == 1
        assert verification.worth_sharing(1, 2 * least, 8) == 2
        assert verification.worth_sharing(1, 100 * least, 8) == 8
        assert verification.worth_sharing(10 * least, 11 * least, 8) == 1


class TestWhatIf:
    @pytest.mark.parametrize("workers", [2, 4])
    def test_the_same_runs_in_the_same_order(self, log_file, history, workers):
        """Draws depend on their seed and the request, never on who makes them."""
        change, stretch = Change(policy=policy_of("cost")), Stretch(draws=2, wait_us=400_000)
        found = what_if_in_processes(log_file, len(history), change, stretch, workers=workers, passed=nobody)
        assert found == what_if(history, change, stretch)
        assert len(found.runs) == 2

    def test_a_single_run_is_left_to_one(self):
        """Runs are what is shared; a run is one simulation from its beginning to its end."""
        least = what_ifs.LEAST_POSITIONS
        assert what_ifs.worth_sharing(least, 1, 8) == 1
        assert what_ifs.worth_sharing(least, 6, 2) == 2
        assert what_ifs.worth_sharing(least - 1, 6, 2) == 1


class TestProcesses:
    def test_results_in_the_order_of_the_parts(self):
        """And everything that they told is heard."""
        heard = []
        assert in_processes(worker_parts.square, [3, 1, 2], heard.append) == [9, 1, 4]
        assert sum(heard) == 6

    @pytest.mark.parametrize("work", [worker_parts.die, worker_parts.leave])
    def test_a_part_that_was_not_done_is_an_error(self, work):
        """Killed, or ended by itself without a result: never a hole in what was found."""
        with pytest.raises(WorkerDiedError, match="ended with code"):
            in_processes(work, [2, 1, 4])

    def test_an_error_ends_the_others(self):
        """It is the worker's own error, with its code, though the others would go on for ever."""
        with pytest.raises(NotFoundError, match="no such log") as told:
            in_processes(worker_parts.refuse, [1, 2, 3])
        assert told.value.code == "no_log"

    @pytest.mark.parametrize("to_all", [False, True])
    @pytest.mark.parametrize("work", ["talk", "hold"])
    async def test_ctrl_c_ends_all(self, tmp_path, work, to_all):
        """Whether the terminal tells all of them or somebody tells only the first."""
        process, workers = await started(tmp_path, work)
        if to_all:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 20) != 0
        assert not any(map(alive, workers))

    async def test_workers_do_not_outlive_who_started_them(self, tmp_path):
        """Killed without a chance to clear up: a worker finds nobody to tell, and ends."""
        process, workers = await started(tmp_path, "talk")
        process.kill()
        process.wait(20)
        await eventually(lambda: not any(map(alive, workers)), 20)

    def test_as_many_as_there_are_processors(self):
        """Those that this process may use, not those that the machine has."""
        assert processors() == len(os.sched_getaffinity(0))


def test_what_was_passed_is_told_once(history):
    """In steps, from where another worker's part ends; the events come through as they are."""
    positions = range(1, 3 * TELLS_EVERY + 5)
    events = [Recorded(position, "log", position, history[0].event) for position in positions]
    heard: list[int] = []
    assert list(telling(events, heard.append)) == events
    assert heard == [TELLS_EVERY] * 3
    heard.clear()
    assert len(list(telling(events, heard.append, after=TELLS_EVERY + 7))) == len(events)
    assert heard == [TELLS_EVERY]
