"""What left the log is nowhere in its files any more: not in free pages, not in the write-ahead file."""

from pathlib import Path

import pytest
from retained_logs import ACTOR, DAY_US, Step, ask, drop, living, old_log


def holds(folder: Path, canary: bytes) -> list[str]:
    """Name the files below a folder that hold some bytes, segments apart."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".segments" not in str(path)]
    return sorted(path.name for path in files if canary in _content(path))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # a checkpoint took its place meanwhile
        return b""


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
async def test_no_byte_is_left_beside_a_running_node(tmp_path, calendar, synchronous):
    """The ids of dropped requests and what stood in their events are gone as soon as the run is done."""
    log = tmp_path / "log.db"
    ids = await old_log(log, calendar, settings={"synchronous": synchronous})
    async with living(log, synchronous=synchronous) as node:
        recent = await ask(node) or "request-"
        await node.retaining.set(30 * DAY_US, actor=ACTOR)
        content = _state_of(node, ids[4])
        assert holds(tmp_path, ids[4].encode())
        assert holds(tmp_path, content)
        run = await drop(node)
        assert run.step == Step.Done, run
        for request_id in ids[:-1]:  # a later decision names the last one as its evidence
            assert holds(tmp_path, request_id.encode()) == []
        assert holds(tmp_path, content) == []
        assert holds(tmp_path, recent.encode())
    for request_id in ids[:-1]:
        assert holds(tmp_path, request_id.encode()) == []
    assert len(list((tmp_path / "log.db.segments").iterdir())) == 1


def _state_of(node, request_id: str) -> bytes:
    """Return what the answer of a request was recorded with, and no other."""
    completed = node.reader.stream(f"request-{request_id}")[-1].event
    return f'"at_us":{completed.at_us},'.encode()
