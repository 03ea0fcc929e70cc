"""Whenever a process dies: all rows are there, or an event names the gap and the next start finishes it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from retained_logs import EPOCH_US, Step, drop, living, streams_in, verdict_of

BEFORE_THE_EVENT = ("archived",)
BEHIND_IT = ("recorded", "sealed", "partly_deleted", "deleted", "wiped", "removed")


def crash(log: Path, step: str) -> None:
    script = Path(__file__).with_name("crash_while_dropping.py")
    command = [sys.executable, str(script), str(log), str(EPOCH_US), step]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def old_streams(log: Path) -> set[str]:
    ids = (log.parent / "ids").read_text().split()
    return {f"request-{one}" for one in ids} & streams_in(log)


@pytest.mark.parametrize("step", BEFORE_THE_EVENT)
async def test_before_the_event_nothing_has_happened(step, whole, calendar):
    """Every row is there, nothing finishes what was not recorded, and a second run goes through."""
    crash(whole, step)
    assert verdict_of(whole).intact
    async with living(whole) as node:
        await node.retaining.dropping.wait()
        assert len(old_streams(whole)) == 24
        assert not node.state.retention.segments
        assert (await drop(node)).step == Step.Done
    assert old_streams(whole) == set()
    assert verdict_of(whole).intact


@pytest.mark.parametrize("step", BEHIND_IT)
async def test_behind_the_event_the_next_start_goes_on(step, whole, calendar):
    """What is gone is named by the event, also before the next start; that deletes the rest."""
    crash(whole, step)
    left = verdict_of(whole)
    assert left.intact, left.findings
    if step in {"recorded", "sealed"}:
        assert len(old_streams(whole)) == 24
    async with living(whole) as node:
        await node.retaining.dropping.wait()
        assert not node.state.retention.removing
        assert len(node.state.retention.segments) == 1
        run = node.retaining.dropping.run
        assert run is None if step == "removed" else run.step == Step.Done
    assert old_streams(whole) == set()
    verdict = verdict_of(whole)
    assert (verdict.intact, verdict.dropped) == (True, 48), verdict.findings
