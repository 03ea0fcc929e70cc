"""What tests of snapshots start from: a real log with a node's snapshots beside it, and its parts."""

import shutil
from pathlib import Path

from histories import troubled_history

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.snapshots.opening import open_snapshots
from apikeyrouter.adapters.snapshots.snapshot_folder import SnapshotFolder, snapshot_folder_beside
from apikeyrouter.application.snapshots import taking
from apikeyrouter.domain.state import RouterState
from apikeyrouter.settings import RouterSettings


def settings_of(path: Path, **changes) -> RouterSettings:
    """Return the settings of a log whose commits need not survive a power cut."""
    return RouterSettings(database_url=str(path), synchronous="NORMAL", **changes)


def snapshots_of(path: Path, **changes) -> SnapshotFolder:
    """Open the snapshots of a log as a node does."""
    opened = open_snapshots(settings_of(path, **changes))
    assert isinstance(opened, SnapshotFolder)
    return opened


def files_of(path: Path) -> list[Path]:
    """Return the files in the folder of snapshots, oldest first."""
    folder = snapshot_folder_beside(path)
    return sorted(folder.iterdir()) if folder.exists() else []


def position_of(file: Path) -> int:
    return int(file.name.partition(".")[0])


def folded_until(path: Path, position: int | None = None) -> RouterState:
    """Fold a log from its beginning."""
    return RouterState().fold(SqliteReader(path).read(until=position))


async def make_history(path: Path, monkeypatch, *, every: int = 150, least: int = 40) -> Path:
    """Live through a troubled history, with a snapshot every few events."""
    monkeypatch.setattr(taking, "EVERY_EVENTS", every)
    monkeypatch.setattr(taking, "LEAST_EVENTS", least)
    await troubled_history(path, requests=80)
    return path


def copy_log(path: Path, folder: Path) -> Path:
    """Copy a log with all that stands beside it."""
    folder.mkdir(exist_ok=True)
    for file in path.parent.iterdir():
        if file.name.startswith(path.name):
            (shutil.copytree if file.is_dir() else shutil.copy2)(file, folder / file.name)
    return folder / path.name
