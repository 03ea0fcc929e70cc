"""Open the snapshots of the log that the settings name."""

from pathlib import Path

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.proof.opening import seal_folder_of
from apikeyrouter.adapters.proof.seal_folder import SealFolder
from apikeyrouter.adapters.proof.stored_rows import StoredRows
from apikeyrouter.adapters.snapshots.fold_digest import fold_digest
from apikeyrouter.adapters.snapshots.log_marks import LogMarks
from apikeyrouter.adapters.snapshots.snapshot_file import seal_key
from apikeyrouter.adapters.snapshots.snapshot_folder import SnapshotFolder, snapshot_folder_beside
from apikeyrouter.adapters.vault.master_key import key_path_beside, load_master_key
from apikeyrouter.application.notices import notices
from apikeyrouter.application.snapshots.ports import NO_SNAPSHOTS, Snapshots
from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.settings import RouterSettings


def open_snapshots(settings: RouterSettings) -> Snapshots:
    """Open those of a node, whose log exists; a log in memory has none."""
    path = settings.database_path
    return NO_SNAPSHOTS if path is None else _folder(settings, path)


def snapshots_for_reading(settings: RouterSettings, log_path: Path) -> Snapshots:
    """Open those of a log beside whoever writes it; none where the master key is not at hand."""
    if not snapshot_folder_beside(log_path.resolve()).is_dir():
        return NO_SNAPSHOTS
    is_given = settings.encryption_key is not None or settings.master_key_file is not None
    if not is_given and not key_path_beside(log_path).exists():
        return NO_SNAPSHOTS
    try:
        return _folder(settings, log_path)
    except (ConfigurationError, OSError):
        return NO_SNAPSHOTS


def _folder(settings: RouterSettings, log_path: Path) -> Snapshots:
    try:
        fold = fold_digest()
    except OSError as error:
        notices().warning("snapshots_not_used", reason=str(error))
        return NO_SNAPSHOTS
    explicit = settings.encryption_key
    master_key = load_master_key(
        explicit=None if explicit is None else explicit.get_secret_value(),
        key_file=settings.master_key_file,
        log_path=log_path,
    )
    path = log_path.resolve()
    marks = LogMarks(StoredRows(path), SealFolder(seal_folder_of(settings, path)), SqliteReader(path))
    return SnapshotFolder(snapshot_folder_beside(path), key=seal_key(master_key), marks=marks, fold=fold)
