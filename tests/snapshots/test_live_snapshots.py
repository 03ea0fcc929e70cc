"""Snapshots that a running node takes: each is what the log gives at its position, whatever went on then."""

import asyncio

import pytest
from loopback import eventually, scripted
from quota_givens import ask_all, asking, provide, running_node
from same_states import differences
from snapshot_givens import files_of, folded_until, make_history, position_of, settings_of, snapshots_of
from structlog.testing import capture_logs

from apikeyrouter.application.snapshots import taking
from apikeyrouter.bootstrap import open_node
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider


async def test_every_snapshot_of_a_live_node_is_the_fold_of_its_log(tmp_path, monkeypatch):
    """Taken while requests are under way, keys fail and managers act: to the last bit what a fold gives."""
    path = await make_history(tmp_path / "log.db", monkeypatch)
    snapshots, files = snapshots_of(path), files_of(path)
    assert len(files) >= 2
    for file in files:
        position, state = snapshots.nearest(position_of(file))
        assert position == position_of(file)
        assert differences(state, folded_until(path, position)) == []


async def test_a_start_goes_on_from_the_snapshot_of_the_stop(tmp_path, monkeypatch):
    """Nothing is folded twice, and the state is the one that a fold from the beginning gives."""
    path = await make_history(tmp_path / "log.db", monkeypatch)
    last = position_of(files_of(path)[-1])
    async with running_node(settings_of(path)) as node:
        assert node.journal.base == last
        assert last > 200
        await eventually(lambda: len(list(node.reader.read())) == node.state.position)
        assert differences(node.state, folded_until(path)) == []


async def test_a_start_that_folded_much_leaves_a_snapshot(tmp_path, monkeypatch):
    """The next one need not fold it again, also if this process dies."""
    path = await make_history(tmp_path / "log.db", monkeypatch)
    for file in files_of(path):
        file.unlink()
    async with running_node(settings_of(path)) as node:
        assert node.journal.base == 0
        await eventually(lambda: [file for file in files_of(path) if file.suffix == ".snapshot"])
        [file] = files_of(path)
        assert position_of(file) < node.state.position


async def test_a_short_log_leaves_nothing(tmp_path):
    """Where there is nothing to be saved no folder is made."""
    async with running_node(settings_of(tmp_path / "log.db")):
        pass
    assert not (tmp_path / "log.db.snapshots").exists()


async def test_none_is_taken_while_a_decision_that_is_not_recorded_moved_the_present(tmp_path, monkeypatch):
    """The log knows nothing of such a decision, and a fold would stand at an earlier instant."""
    monkeypatch.setattr(taking, "LEAST_EVENTS", 1)
    node = await open_node(settings_of(tmp_path / "log.db"))
    assert node.journal.exact
    node.state.advance(node.state.latest_us + 1_000_000)
    assert not node.journal.exact
    taken = files_of(tmp_path / "log.db")
    await node.taker.close()
    assert files_of(tmp_path / "log.db") == taken
    await node.close()


async def test_a_clock_that_was_set_back_keeps_no_snapshot_away(tmp_path, monkeypatch):
    """The flag that the log keeps of it tells the present of the state, so the state is exact behind it."""
    async with running_node(settings_of(tmp_path / "log.db")) as node:
        later_us = node.clock.now_us() + 3_600_000_000
        node.journal.meet(later_us)
        node.state.advance(later_us)
        assert not node.journal.exact
        node.journal.meet(node.clock.now_us())
        assert node.journal.exact
        await eventually(lambda: len(list(node.reader.read())) == node.state.position)
        assert differences(node.state, folded_until(tmp_path / "log.db")) == []


async def test_what_was_frozen_before_an_outage_is_dropped(tmp_path, monkeypatch):
    """Events that were never stored are in no snapshot, though others stand at their positions later."""
    monkeypatch.setattr(taking, "EVERY_EVENTS", 1)
    monkeypatch.setattr(taking, "LEAST_EVENTS", 1)
    path = tmp_path / "log.db"
    async with ScriptedProvider(scripted("a")) as provider, running_node(settings_of(path)) as node:
        await provide(node, provider, a={})
        await ask_all(node, 4, at_once=2)
        node.reader.limit_pages(0)
        async with asyncio.timeout(60):
            while node.ready:
                await ask_all(node, 8, at_once=4, wanted=asking(pad=4000))
        node.reader.limit_pages(None)
        await eventually(lambda: node.ready, 10)
        await ask_all(node, 8, at_once=4)
        await eventually(lambda: len(list(node.reader.read())) == node.state.position)
    snapshots = snapshots_of(path)
    for file in files_of(path):
        position, state = snapshots.nearest(position_of(file))
        assert position == position_of(file)
        assert differences(state, folded_until(path, position)) == []


async def test_a_log_in_memory_has_no_snapshots():
    """There is nothing that they could stand beside."""
    async with running_node() as node:
        assert node.snapshots.nearest() is None
        node.snapshots.keep(node.state)
        assert node.snapshots.nearest() is None


@pytest.mark.parametrize("durable", [149, 150])
def test_what_is_frozen_is_written_once_the_log_is_durable_up_to_it(durable):
    """A snapshot on the disk never stands ahead of the log there."""
    journal, written = _Journal(150), []
    taker = taking.SnapshotTaker(journal, _Recording(written))
    journal.state.position, journal.state.latest_us = 60_150, 1
    loop = asyncio.new_event_loop()

    async def follow() -> None:
        taker._go_on(60_000)
        assert written == []
        taker._go_on(60_000 + durable)
        if taker._writing is not None:
            await taker._writing

    loop.run_until_complete(follow())
    loop.close()
    assert written == ([60_150] if durable == 150 else [])


def test_what_was_frozen_of_another_state_is_dropped():
    """After an outage the journal folds anew; the state that ran ahead of the log is nobody's any more."""
    journal, written = _Journal(150), []
    taker = taking.SnapshotTaker(journal, _Recording(written))
    journal.state.position = 60_150
    taker._go_on(60_000)
    journal.state = _State()
    taker._go_on(60_200)
    assert (written, taker._writing) == ([], None)


@pytest.mark.parametrize("hindered_by", ["state", "writer"])
async def test_what_cannot_be_frozen_now_is_frozen_at_the_next_batch(hindered_by):
    """While the present is ahead of the log, or the last snapshot is being written, nothing is frozen."""
    journal, written = _Journal(150), []
    taker = taking.SnapshotTaker(journal, _Recording(written))
    journal.state.position = 60_000
    unwritten = asyncio.get_running_loop().create_future()
    journal.exact, taker._writing = hindered_by != "state", unwritten if hindered_by == "writer" else None
    taker._go_on(60_000)
    assert written == []
    journal.exact = True
    unwritten.set_result(None)
    taker._go_on(60_000)
    await taker._writing
    assert written == [60_000]


async def test_a_state_that_cannot_be_copied_harms_nobody():
    """A start, requests and a stop go on; the next try comes much later, and operators are told."""
    journal = _Journal(0)
    journal.log = _Followed()
    taker = taking.SnapshotTaker(journal, _Failing())
    journal.state.position = 60_000
    with capture_logs() as told:
        taker.start()
        taker._go_on(60_000)
        await taker.close()
    assert taker._due == 60_000 + taking.LEAST_EVENTS
    assert [line["event"] for line in told] == ["snapshot_failed"] * 3


@pytest.mark.parametrize(
    ("events", "passed_us", "is_due"),
    [
        (taking.EVERY_EVENTS, 0, True),
        (taking.EVERY_EVENTS - 1, 0, False),
        (taking.LEAST_EVENTS, taking.EVERY_US, True),
        (taking.LEAST_EVENTS, taking.EVERY_US - 1, False),
    ],
)
async def test_many_events_or_much_time_ask_for_a_snapshot(events, passed_us, is_due):
    """Dense events count by their number, sparse ones by the log's time."""
    journal, written = _Journal(0), []
    taker = taking.SnapshotTaker(journal, _Recording(written))
    journal.state.position, journal.state.latest_us = events, passed_us
    taker._go_on(events)
    if taker._writing is not None:
        await taker._writing
    assert written == ([events] if is_due else [])
    assert taker._due == events + taking.LEAST_EVENTS


class _State:
    def __init__(self) -> None:
        self.position = self.latest_us = 0


class _Journal:
    def __init__(self, base: int) -> None:
        self.base, self.state, self.exact = base, _State(), True


class _Followed:
    def follow(self, follower) -> None:
        pass


class _Failing:
    def freeze(self, state):
        raise TypeError("cannot pickle")


class _Recording:
    def __init__(self, written: list) -> None:
        self.written = written

    def freeze(self, state):
        return taking.Frozen(state.position, state.latest_us, None)

    def write(self, frozen, *, pinned=False):
        self.written.append(frozen.position)
