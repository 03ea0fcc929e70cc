"""The folder: what stays in it, what a dying process leaves there, and who reads it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Commands
from quota_givens import running_node
from same_states import differences
from snapshot_givens import (
    copy_log,
    files_of,
    folded_until,
    make_history,
    position_of,
    settings_of,
    snapshots_of,
)
from structlog.testing import capture_logs

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.application.as_of import Moment, state_at
from apikeyrouter.application.snapshots.folding import folded, folded_on
from apikeyrouter.application.snapshots.ports import NO_SNAPSHOTS

DYING = Path(__file__).with_name("die_while_writing.py")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A log with its snapshots, made once; tests take copies."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        path = tmp_path_factory.mktemp("made") / "log.db"
        return asyncio.run(make_history(path, monkeypatch))


@pytest.fixture
def log(made, tmp_path):
    return copy_log(made, tmp_path)


@pytest.fixture
def empty(log):
    """A log whose snapshots somebody deleted."""
    for file in files_of(log):
        file.unlink()
    return log


def test_the_newest_three_stay(empty):
    """Older ones make room, whatever their number."""
    snapshots = snapshots_of(empty)
    for position in (20, 40, 60, 80, 100):
        snapshots.keep(folded_until(empty, position))
    assert [position_of(file) for file in files_of(empty)] == [60, 80, 100]


def test_pinned_ones_stay(empty):
    """What was pinned is used like any other and never makes room."""
    snapshots = snapshots_of(empty)
    snapshots.keep(folded_until(empty, 30), pinned=True)
    for position in (40, 60, 80, 100):
        snapshots.keep(folded_until(empty, position))
    assert [position_of(file) for file in files_of(empty)] == [30, 60, 80, 100]
    assert snapshots.nearest(35)[0] == 30


def test_pinning_the_past_leaves_the_present(empty):
    """A pinned state may stand far behind the newest."""
    snapshots = snapshots_of(empty)
    snapshots.keep(folded_until(empty, 100))
    snapshots.keep(folded_until(empty, 30), pinned=True)
    assert [position_of(file) for file in files_of(empty)] == [30, 100]


def test_what_a_log_that_was_put_back_had_ahead_makes_room(empty):
    """It would be taken for the newest for ever."""
    snapshots = snapshots_of(empty)
    snapshots.keep(folded_until(empty, 100))
    snapshots.keep(folded_until(empty, 60))
    assert [position_of(file) for file in files_of(empty)] == [60]


def test_what_left_the_log_takes_its_snapshots_along(empty):
    """No state is folded on over a gap: those from before it are removed, pinned ones too."""
    snapshots = snapshots_of(empty)
    snapshots.keep(folded_until(empty, 30), pinned=True)
    for position in (40, 60, 80):
        snapshots.keep(folded_until(empty, position))
    snapshots.forget(before=60)
    assert [position_of(file) for file in files_of(empty)] == [60, 80]


def test_nothing_is_kept_of_a_state_that_the_log_does_not_reach(empty):
    """The log on the disk is the truth; a state ahead of it is not written."""
    state = folded_until(empty)
    state.position += 1
    with capture_logs() as told:
        snapshots_of(empty).keep(state)
    assert files_of(empty) == []
    assert told[0]["event"] == "snapshot_not_kept"


@pytest.mark.parametrize("where", ["before", "half", "after"])
def test_whoever_dies_while_writing_leaves_a_log_that_starts(log, where):
    """Killed before, amid and after the writing: the next start uses what is whole, and clears up later."""
    newest = position_of(files_of(log)[-1])
    died = subprocess.run([sys.executable, str(DYING), str(log), where], check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL
    assert asyncio.run(_base_of_a_start(log)) in {newest, folded_until(log).position}
    snapshots_of(log).keep(folded_until(log))
    assert not [file for file in files_of(log) if file.suffix == ".new"]


async def _base_of_a_start(log: Path) -> int:
    async with running_node(settings_of(log)) as node:
        assert node.ready
        return node.journal.base


def test_a_disk_that_is_full_harms_nobody(log, monkeypatch):
    """The snapshot is not kept, operators are told, and the node goes on."""

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with capture_logs() as told:
        snapshots_of(log).keep(folded_until(log, 50))
    assert [line["event"] for line in told] == ["snapshot_not_kept"]


# --- who reads them ----------------------------------------------------------------------------------


def test_every_position_of_the_past_is_the_same_with_snapshots(log):
    """A question as of a position gets what a fold from the beginning gives, whichever snapshot is near."""
    reader, snapshots = SqliteReader(log), snapshots_of(log)
    positions = sorted({position_of(file) + step for file in files_of(log) for step in (-1, 0, 1)})
    for position in positions:
        if position <= reader.head():
            with_them = state_at(reader, Moment(position=position), snapshots)
            assert differences(with_them, folded_until(log, position)) == []


def test_every_instant_of_the_past_is_the_same_with_snapshots(log):
    """An instant before a snapshot's present is folded from further back."""
    reader, snapshots = SqliteReader(log), snapshots_of(log)
    used = set()
    for position in {position_of(file) for file in files_of(log)}:
        present_us = folded_until(log, position).latest_us
        for at_us in (present_us - 1, present_us, present_us + 1):
            past = state_at(reader, Moment(at_us=at_us), snapshots)
            assert differences(past, state_at(reader, Moment(at_us=at_us))) == []
            nearest = snapshots.nearest(at_us=at_us)
            used.add(None if nearest is None else nearest[0] - position)
    assert 0 in used
    assert len(used) > 1


def test_an_instant_that_a_clock_had_before_it_was_set_back_is_found(log):
    """Events of a later time stand before earlier ones: no snapshot behind them is taken."""
    snapshots = snapshots_of(log)
    position, state = snapshots.nearest()
    state.advance(state.latest_us + 3_600_000_000)
    snapshots.keep(state)
    found = snapshots.nearest(at_us=state.latest_us - 1)
    assert found is None or found[0] < position


def test_folding_on_tells_where_it_began(log):
    """From the beginning without snapshots, and from the nearest with them."""
    reader = SqliteReader(log)
    last = position_of(files_of(log)[-1])
    assert folded_on(reader, NO_SNAPSHOTS)[0] == 0
    assert folded_on(reader, snapshots_of(log))[0] == last
    assert folded_on(reader, snapshots_of(log), until=last - 1)[0] < last
    assert differences(folded(reader, snapshots_of(log)), folded_until(log)) == []


def test_the_command_line_answers_the_same_with_and_without(log):
    """Commands that read take the snapshots where the master key is at hand, and fold where it is not."""
    key, at = log.with_name("log.db.key"), position_of(files_of(log)[-1])
    questions = [("providers", "list"), ("replay", "state", "--scope", "quotas", "--at", str(at))]

    def answers():
        return [Commands(log).data(*question) for question in questions]

    with_snapshots = answers()
    hidden = key.rename(key.with_name("elsewhere"))
    without_key = answers()
    assert not key.exists()
    hidden.rename(key)
    for file in files_of(log):
        file.unlink()
    assert with_snapshots == without_key == answers()


def test_reading_makes_no_files(log):
    """Neither a key nor a folder comes from a question."""
    for file in files_of(log):
        file.unlink()
    files_of(log)
    log.with_name("log.db.snapshots").rmdir()
    log.with_name("log.db.key").unlink()
    before = sorted(log.parent.iterdir())
    Commands(log).data("keys", "list")
    with contextlib.suppress(FileNotFoundError):
        assert sorted(log.parent.iterdir()) == before
