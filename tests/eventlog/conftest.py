"""Fixtures of the event log's tests: both logs, on both event loops."""

import asyncio

import pytest
import uvloop

from apikeyrouter.adapters.eventlog.memory_log import MemoryLog
from apikeyrouter.adapters.eventlog.sqlite_log import SqliteLog

_ON_BOTH_LOOPS = {"test_eventlog_contract"}


def pytest_asyncio_loop_factories(config, item):
    """Run the contract on the loop of production and on the standard one."""
    loops = {"uvloop": uvloop.new_event_loop}
    if item.path.stem in _ON_BOTH_LOOPS:
        loops["asyncio"] = asyncio.new_event_loop
    return loops


@pytest.fixture
def path(tmp_path):
    """Name a log's file that does not exist yet, alone in its folder."""
    folder = tmp_path / "a folder with ? and #"
    folder.mkdir()
    return folder / "log.db"


@pytest.fixture
async def sqlite_log(path):
    """Open a log in a file."""
    log = SqliteLog(path)
    yield log
    await log.close()


@pytest.fixture(params=["memory", "sqlite"])
async def log(request, path):
    """Each implementation of the port in turn."""
    opened = MemoryLog() if request.param == "memory" else SqliteLog(path)
    yield opened
    await opened.close()
