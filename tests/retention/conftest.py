"""A log of seventy days, made once; tests work on copies."""

import asyncio
import shutil
from pathlib import Path

import pytest
from retained_logs import Calendar, dropped_log, old_log


@pytest.fixture
def calendar(monkeypatch):
    """Return the time of every node, which the test sets."""
    return Calendar(monkeypatch)


@pytest.fixture(scope="session")
def originals(tmp_path_factory):
    """Return two folders: a log of seventy days, and the same kind of log with its old requests dropped."""
    folder = tmp_path_factory.mktemp("retained")
    with pytest.MonkeyPatch.context() as monkeypatch:
        calendar = Calendar(monkeypatch)
        for name, make in (("whole", old_log), ("dropped", dropped_log)):
            (folder / name).mkdir()
            ids = asyncio.run(make(folder / name / "log.db", calendar))
            (folder / name / "ids").write_text("\n".join(ids))
    return folder


def _copy(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return tmp_path / "log.db"


@pytest.fixture
def whole(originals, tmp_path):
    """Return a copy of the log that nothing has left."""
    return _copy(originals / "whole", tmp_path)


@pytest.fixture
def log(originals, tmp_path):
    """Return a copy of the log that old requests have left."""
    return _copy(originals / "dropped", tmp_path)


@pytest.fixture
def gone(originals) -> list[str]:
    """Return the ids of the requests that have left it."""
    return (originals / "dropped" / "ids").read_text().split()
