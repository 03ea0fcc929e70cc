"""What is old leaves the log whole, archived and proven; what is needed stays."""

import pytest
from retained_logs import ACTOR, DAY_US, Step, drop, living, settings_of, streams_in, verdict_of
from structlog.testing import capture_logs

from apikeyrouter.adapters.proof.opening import evidence_of
from apikeyrouter.adapters.retention.restoring import restore
from apikeyrouter.application.retention import dropping
from apikeyrouter.application.retention.rehearsal import Rehearsed
from apikeyrouter.domain.models.system_error import ConflictError


class TestAnOldLog:
    def test_what_is_old_is_gone_and_the_rest_verifies(self, log, gone):
        verdict = verdict_of(log)
        assert verdict.intact, verdict.findings
        assert verdict.dropped == 2 * len(gone)
        left = streams_in(log)
        assert not {f"request-{one}" for one in gone} & left
        assert len([one for one in left if one.startswith("request-")]) == 6

    async def test_where_money_would_differ_nothing_is_dropped(self, whole, calendar, monkeypatch):
        """What the rehearsal refuses stays, and the account is named."""
        monkeypatch.setattr(dropping, "rehearse", lambda *_, **__: Rehearsed(None, "budget-of-all"))
        async with living(whole) as node:
            await node.retaining.set(30 * DAY_US, actor=ACTOR)
            run = await drop(node)
            assert (run.step, run.events) == (Step.Failed, 0)
            assert "budget-of-all" in run.reason
            assert not node.state.retention.segments
        assert not whole.with_name("log.db.segments").exists()

    async def test_a_start_without_snapshot_and_segment_says_what_begins_anew(self, log, calendar):
        """The pinned snapshot at the base gives the exact state; without both operators are told."""
        snapshots, segments = log.with_name("log.db.snapshots"), log.with_name("log.db.segments")
        assert [path.suffix for path in snapshots.iterdir()] == [".pinned"]
        for is_told in (False, True):
            with capture_logs() as lines:
                async with living(log) as node:
                    assert (node.journal.base == 0) == is_told
            assert any(one["event"] == "folded_without_archived_requests" for one in lines) == is_told
            for path in [*snapshots.iterdir(), *segments.iterdir()]:
                path.unlink()


class TestRestoring:
    def test_a_forged_segment_makes_no_log(self, log):
        """Nothing is left of a restoration that cannot be verified."""
        [segment] = log.with_name("log.db.segments").iterdir()
        content = bytearray(segment.read_bytes())
        content[len(content) // 2] ^= 1
        segment.write_bytes(content)
        into = log.with_name("full.db")
        with pytest.raises(ConflictError):
            restore(evidence_of(settings_of(log), log), log, [segment], into)
        assert not list(log.parent.glob("full.db*"))

    def test_rows_come_back_byte_for_byte(self, log):
        """Positions, streams, names and states: the seals of the original fit every row."""
        segments = list(log.with_name("log.db.segments").iterdir())
        into = log.with_name("full.db")
        made = restore(evidence_of(settings_of(log), log), log, segments, into)
        verdict = verdict_of(into)
        assert (made.restored, verdict.events, verdict.sealed) == (48, made.events, made.events)
        assert verdict.intact
