"""Die while requests leave, start with less than there was, drop again, and bring everything back."""

import asyncio

import pytest
from lives import bring_back, past_of, refolds_in, serve, take_away, upgrade, verified
from loopback import eventually
from retained_logs import ACTOR, DAY_US, Step, drop, living, settings_of, verdict_of
from same_states import differences
from test_crashes import BEHIND_IT, crash

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.proof.opening import evidence_of
from apikeyrouter.adapters.retention.restoring import restore
from apikeyrouter.application.as_of import Moment, state_at


async def keep_snapshot(log) -> int:
    """Start, keep a snapshot as after a long fold, and end; return where the next start finds it."""
    async with living(log) as node:
        await node.retaining.dropping.wait()
        await asyncio.to_thread(node.snapshots.keep, node.state)
        return node.state.position


@pytest.mark.parametrize("is_here", [True, False], ids=["with_segments", "without"])
@pytest.mark.parametrize("step", BEHIND_IT)
async def test_the_whole_way_comes_out_to_the_same_bytes(step, is_here, whole, calendar):
    """Killed, upgraded, perhaps without segments; a snapshot; dropped again; restored, and made again."""
    crash(whole, step)
    if not is_here:
        take_away(whole)
    upgrade(whole)
    await serve(whole, calendar)
    rows_are_there = step in {"recorded", "sealed"}
    assert len(refolds_in(whole)) == (0 if is_here or rows_are_there else 1)
    position = await keep_snapshot(whole)
    calendar.now_us += 40 * DAY_US
    async with living(whole) as node:
        assert node.journal.base == position
        run = await drop(node)
        assert (run.step, run.requests) == (Step.Done, 9), run
    if not is_here:
        bring_back(whole)
    await serve(whole, calendar)
    verdict = verdict_of(whole)
    assert (verdict.intact, verdict.dropped) == (True, 48 + 18), verdict.findings
    segments = list(whole.with_name("log.db.segments").iterdir())
    restore(evidence_of(settings_of(whole), whole), whole, segments, whole.with_name("full.db"))
    for log in (whole, whole.with_name("full.db")):
        found = verified(log)
        assert (found.identical, found.decisions) == (True, 36)


async def test_every_folder_beside_the_log_is_lost(log, calendar):
    """Snapshots and segments are deleted for good: the log starts, counts right, and says what it is."""
    take_away(log)
    upgrade(log)
    await serve(log, calendar)
    [refold] = refolds_in(log)
    async with living(log) as node:
        position = node.state.position
        live = node.state
        assert differences(state_at(past_of(log), Moment(position=position)), live) == []
    assert verified(log, first=refold.position).identical
    assert verdict_of(log).intact


async def test_memory_that_must_be_folded_anew_says_so_too(log, calendar):
    """A log that failed for a moment, in a life that had everything at its start and has it no more."""
    async with living(log) as node:
        assert refolds_in(log) == []
        take_away(log)
        upgrade(log)
        behind = node.journal.log.head
        node.journal.fall_behind()
        await eventually(lambda: node.ready)
        [refold] = refolds_in(log)
        assert (refold.event.behind, refold.position) == (behind, behind + 1)
        head = SqliteReader(log).head()
        assert differences(state_at(past_of(log), Moment(position=head)), node.state) == []
        await node.retaining.set(30 * DAY_US, actor=ACTOR)
    await serve(log, calendar)
    assert len(refolds_in(log)) == 1
    bring_back(log)
    assert verified(log).identical
