"""A start is exact where everything is at hand; where not, the log says from where on, and replays follow."""

import asyncio
import json
import shutil

import httpx
import pytest
from lives import (
    away_of,
    bring_back,
    every_event,
    past_of,
    refolds_in,
    segments_of,
    serve,
    snapshots_of,
    take_away,
    upgrade,
    verified,
)
from loopback import RUN_KEY
from retained_logs import DAY_US, HOUR_US, Step, drop, living, settings_of, verdict_of
from same_states import differences
from structlog.testing import capture_logs
from typer.testing import CliRunner

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.proof.opening import evidence_of, signer_of
from apikeyrouter.adapters.retention.restoring import restore
from apikeyrouter.adapters.retention.segment_folder import write_segment
from apikeyrouter.adapters.workers.verification import verify_in_processes
from apikeyrouter.application.as_of import Moment, state_at
from apikeyrouter.application.reenact import reenact
from apikeyrouter.application.replay import verify, verify_past
from apikeyrouter.application.retention.gaps import ArchivedError, refuse_cut, retention_of
from apikeyrouter.application.retrace import end_of
from apikeyrouter.application.what_if import Change, Stretch, what_if
from apikeyrouter.domain.events import RouteDecided
from apikeyrouter.domain.holds import HoldAsked, HoldScope
from apikeyrouter.domain.models.system_error import ConflictError
from apikeyrouter.domain.positions import Positions
from apikeyrouter.domain.state import RouterState
from apikeyrouter.interfaces.cli.main import app
from apikeyrouter.interfaces.http.app import Proxy


@pytest.fixture
async def refolded(log, calendar):
    """Return a log with a life that began without its segments, which lie elsewhere."""
    take_away(log)
    upgrade(log)
    calendar.now_us += HOUR_US
    await serve(log, calendar)
    return log


class TestAStartWithTheSegments:
    async def test_the_state_is_that_of_all_events(self, log, calendar):
        """No snapshot fits, all segments lie there: averages too are what they were."""
        upgrade(log)
        with capture_logs() as lines:
            async with living(log) as node:
                behind = node.state.position
                expected = RouterState().fold(past_of(log).read(until=behind))
                assert differences(node.state, expected) == []
        assert not [one for one in lines if one["event"] == "folded_without_archived_requests"]
        await serve(log, calendar)
        assert refolds_in(log) == []
        found = verified(log)
        assert (found.identical, found.decisions) == (True, 33)

    async def test_a_segment_that_is_not_what_was_recorded_is_not_folded(self, log, calendar):
        """It is as if it were not there, and operators are told why."""
        [segment] = segments_of(log).iterdir()
        content = bytearray(segment.read_bytes())
        content[len(content) // 2] ^= 1
        segment.write_bytes(content)
        upgrade(log)
        with capture_logs() as lines:
            async with living(log):
                pass
        [told] = [one for one in lines if one["event"] == "folded_without_archived_requests"]
        assert segment.name in told["reason"]
        assert len(refolds_in(log)) == 1

    async def test_another_segment_under_its_name_is_not_folded(self, log, calendar):
        """Sound in itself and signed by this log's key, but not the file that the event names."""
        [segment] = segments_of(log).iterdir()
        evidence, signer = evidence_of(settings_of(log), log), signer_of(settings_of(log), log)
        head = SqliteReader(log).head()
        some = Positions([(head - 3, head - 2)])
        write_segment(evidence.rows, evidence.seals, signer, some, away_of(log)).rename(segment)
        upgrade(log)
        async with living(log):
            pass
        assert len(refolds_in(log)) == 1


class TestAStartWithoutThem:
    async def test_the_log_says_so_before_anything_else(self, log, calendar):
        """The first event of that life: where it began, and how much was not at hand."""
        take_away(log)
        upgrade(log)
        head = SqliteReader(log).head()
        async with living(log):
            pass
        first, second, *_ = SqliteReader(log).read(after=head)
        assert (first.event.behind, first.event.events, first.position) == (head, 48, head + 1)
        assert type(second.event).__name__ == "NodeStarted"
        assert verdict_of(log).intact

    async def test_also_where_the_clock_was_set_back(self, log, calendar):
        """The flag comes first, and is part of what is folded."""
        take_away(log)
        upgrade(log)
        calendar.now_us -= 20 * DAY_US
        await serve(log, calendar)
        [refold] = refolds_in(log)
        assert refold.position == refold.event.behind + 2
        assert verified(log, first=refold.position).identical
        bring_back(log)
        assert verified(log).identical

    async def test_it_is_said_once(self, refolded, calendar):
        """Later starts come to the same state, with the segments or without, and have nothing to say."""
        for is_here in (False, True):
            if is_here:
                bring_back(refolded)
            upgrade(refolded)
            await serve(refolded, calendar)
        assert len(refolds_in(refolded)) == 1
        found = verified(refolded)
        assert (found.identical, found.decisions) == (True, 39)

    async def test_from_there_on_no_segment_is_needed(self, refolded):
        """Decisions of that life come out to the same bytes; those before it name what to bring back."""
        [refold] = refolds_in(refolded)
        found = verified(refolded, first=refold.event.behind + 1)
        assert (found.identical, found.decisions) == (True, 3)
        with pytest.raises(ArchivedError):
            verified(refolded)

    async def test_with_them_back_everything_is_made_again(self, refolded, calendar):
        """Across that start, in one process and in several; a fold that went on beyond it would differ."""
        bring_back(refolded)
        found = verified(refolded)
        assert (found.identical, found.decisions) == (True, 33)
        shared = verify_in_processes(refolded, 1, SqliteReader(refolded).head(), 2, lambda _count: None)
        assert (shared.identical, shared.decisions, shared.events) == (True, 33, found.events)
        assert not verify(every_event(refolded)).identical

    async def test_over_http_and_on_the_command_line(self, refolded):
        """Both say the same: refused as a whole, made again from there on."""
        [refold] = refolds_in(refolded)
        words = ["replay", "verify", "-d", str(refolded), "--json"]
        whole = CliRunner().invoke(app, [*words, "--workers", "2"])
        assert (whole.exit_code, f"From position {refold.event.behind + 1} on" in whole.output) == (1, True)
        part = CliRunner().invoke(app, [*words, "--from", str(refold.position)])
        assert (part.exit_code, json.loads(part.stdout)["decisions"]) == (0, 3)
        proxy = Proxy(settings_of(refolded), RUN_KEY)
        given = {"transport": httpx.ASGITransport(proxy), "headers": {"x-api-key": RUN_KEY}}
        async with (
            living(refolded) as proxy._node,
            httpx.AsyncClient(base_url="http://test", **given) as client,
        ):
            answer = await client.get("/api/v1/replay/verify", params={"from": refold.position})
            assert (answer.status_code, answer.json()["identical"]) == (200, True)
            assert (await client.get("/api/v1/replay/verify")).status_code == 410
            crossing = await client.post("/api/v1/what-if", json={})
            assert (crossing.status_code, "--from" in crossing.text) == (409, True)

    async def test_as_of(self, refolded, calendar):
        """Just before that event all requests count; from it on those that were left, as in memory then."""
        upgrade(refolded)
        async with living(refolded) as node:
            position = node.state.position
            now = state_at(past_of(refolded), Moment(position=position))
            assert differences(now, node.state) == []
        bring_back(refolded)
        assert differences(state_at(past_of(refolded), Moment(position=position)), now) == []
        [refold] = refolds_in(refolded)
        behind = refold.event.behind
        every = [one for one in every_event(refolded) if one.position <= behind]
        before = state_at(past_of(refolded), Moment(position=behind))
        assert differences(before, RouterState().fold(every)) == []
        by_time = state_at(past_of(refolded), Moment(at_us=refold.event.at_us - 1))
        before.advance(refold.event.at_us - 1)
        assert differences(by_time, before) == []
        later_us = calendar.now_us + HOUR_US
        by_time = state_at(past_of(refolded), Moment(at_us=later_us))
        expected = state_at(past_of(refolded), Moment(position=SqliteReader(refolded).head()))
        expected.advance(later_us)
        assert differences(by_time, expected) == []

    async def test_a_snapshot_from_before_is_not_gone_on_from(self, log, calendar):
        """Whoever goes back to the former version finds its snapshots, which no later state grew from."""
        snapshots, kept = log.with_name("log.db.snapshots"), log.with_name("kept")
        shutil.copytree(snapshots, kept)
        take_away(log)
        upgrade(log)
        await serve(log, calendar)
        upgrade(log)
        shutil.copytree(kept, snapshots)
        async with living(log) as node:
            assert node.journal.base == 0
        await serve(log, calendar)
        [refold] = refolds_in(log)
        found = verified(log, first=refold.position)
        assert (found.identical, found.decisions) == (True, 6)
        past, at_us = past_of(log), calendar.now_us
        with_it = state_at(past, Moment(at_us=at_us), snapshots_of(log))
        assert differences(with_it, state_at(past, Moment(at_us=at_us))) == []

    async def test_a_request_is_sent_through_the_line_again(self, refolded):
        reader = SqliteReader(refolded)
        decided = [one for one in reader.read() if isinstance(one.event, RouteDecided)]
        own = reader.stream(decided[-2].stream)
        events = past_of(refolded).read(until=end_of(own), as_of=own[0].position)
        assert (await asyncio.to_thread(reenact, events, own)).identical

    async def test_what_if_and_bisect_stay_on_one_side(self, refolded):
        """From that start on history comes out again; across it there is no one world to ask."""
        reader, past = SqliteReader(refolded), past_of(refolded)
        [refold] = refolds_in(refolded)
        first = refold.event.behind + 1
        refuse_cut(past, first, reader.head())
        again = what_if(past.read(as_of=first), Change(), Stretch(first=first))
        assert again.identical
        with pytest.raises(ConflictError, match=f"--to {first - 1}.*--from {first}"):
            refuse_cut(past, 1, reader.head())
        bring_back(refolded)
        refuse_cut(past, 1, first - 1)
        before = what_if(past.read(as_of=1), Change(), Stretch(last=first - 1))
        assert before.identical

    async def test_restored_it_is_the_same_history(self, refolded):
        """A log that has every row again still knows what that life began from."""
        segments = list(away_of(refolded).iterdir())
        into = refolded.with_name("full.db")
        restore(evidence_of(settings_of(refolded), refolded), refolded, segments, into)
        found = verified(into)
        assert (found.identical, found.decisions) == (True, 33)


class TestSeveralTimes:
    async def test_each_life_is_made_again_from_what_it_began_with(self, refolded, calendar):
        """Dropped, begun without, dropped again, begun without again, and once with everything."""
        calendar.now_us += 40 * DAY_US
        async with living(refolded) as node:
            run = await drop(node)
            assert (run.step, run.reason) == (Step.Done, None), run
        take_away(refolded)
        upgrade(refolded)
        await serve(refolded, calendar)
        assert [one.event.events for one in refolds_in(refolded)] == [48, 48 + 6 * 2 + 3 * 2]
        last = refolds_in(refolded)[-1]
        assert verified(refolded, first=last.position).identical
        bring_back(refolded)
        upgrade(refolded)
        await serve(refolded, calendar)
        assert len(refolds_in(refolded)) == 2
        found = verified(refolded)
        assert (found.identical, found.decisions) == (True, 39)
        assert verdict_of(refolded).intact

    async def test_a_base_folded_without_what_had_left_is_not_pinned(self, whole, calendar):
        """More leaves from among what left before, and no snapshot tells of that any more."""
        async with living(whole) as node:
            await node.retaining.set(30 * DAY_US, actor="test")
            asked = HoldAsked(scope=HoldScope.Client, scope_id="zenith", reason="case 17")
            placed = await node.retaining.place(asked, actor="test")
            assert (await drop(node)).requests == 16
            upgrade(whole)
            await node.retaining.release(placed.hold.hold_id, actor="test", reason="over")
            assert (await drop(node)).requests == 8
            assert node.snapshots.nearest() is None

    async def test_a_base_that_is_not_exact_is_not_pinned(self, refolded, calendar):
        """What is pinned when more is dropped gives the very state that a fold of history gives."""
        calendar.now_us += 40 * DAY_US
        async with living(refolded) as node:
            assert (await drop(node)).step == Step.Done
            pinned = node.snapshots.nearest(retention_of(SqliteReader(refolded)).base)
        bring_back(refolded)
        assert pinned is not None
        expected = state_at(past_of(refolded), Moment(position=pinned[0]))
        assert differences(pinned[1], expected) == []


class TestASnapshotBehindWhatLeft:
    async def test_one_from_before_a_new_beginning_is_no_help(self, log, calendar):
        """More has left since and is away too, so that nothing says what the decisions came from."""
        snapshots, kept = log.with_name("log.db.snapshots"), log.with_name("kept")
        shutil.copytree(snapshots, kept)
        take_away(log)
        upgrade(log)
        await serve(log, calendar)
        calendar.now_us += 40 * DAY_US
        async with living(log) as node:
            assert (await drop(node)).step == Step.Done
        take_away(log)
        upgrade(log)
        shutil.copytree(kept, snapshots)
        head = SqliteReader(log).head()
        with pytest.raises(ArchivedError):
            verify_past(past_of(log), first=head - 3, last=head, snapshots=snapshots_of(log))

    async def test_decisions_behind_it_are_made_again_without_the_segment(self, log, calendar):
        """The pinned state at the base is where folding goes on; what it said is that it did."""
        await serve(log, calendar)
        take_away(log)
        base = retention_of(SqliteReader(log)).base
        command = ["replay", "verify", "-d", str(log), "--json", "--workers", "2", "--from", str(base + 1)]
        result = CliRunner().invoke(app, command)
        told = json.loads(result.stdout)
        assert (result.exit_code, told["identical"], told["base"]) == (0, True, base)
        assert told["decisions"] == 9
        upgrade(log)
        assert CliRunner().invoke(app, command).exit_code == 1
