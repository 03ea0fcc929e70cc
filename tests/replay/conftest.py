"""One troubled history for all tests of replay, in memory and as a file."""

import asyncio
from pathlib import Path

import pytest
from histories import troubled_history

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.domain.events import Recorded


@pytest.fixture(scope="session")
def log_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("history") / "log.db"
    asyncio.run(troubled_history(path))
    return path


@pytest.fixture(scope="session")
def history(log_file) -> list[Recorded]:
    return list(SqliteReader(log_file).read())


@pytest.fixture
def reader(log_file) -> SqliteReader:
    return SqliteReader(log_file)
