"""The folder of snapshots beside a log: the newest few, and those that are pinned. It may be deleted."""

import contextlib
import os
import re
import stat
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from apikeyrouter.adapters.proof.durable_files import OWNER_ONLY, remove, replace
from apikeyrouter.adapters.snapshots.frozen_state import FrozenState, UnusableStateError, thawed
from apikeyrouter.adapters.snapshots.log_marks import Marks
from apikeyrouter.adapters.snapshots.snapshot_file import Head, SnapshotRefusedError, opened, sealed
from apikeyrouter.application.notices import notices
from apikeyrouter.application.snapshots.ports import Frozen
from apikeyrouter.domain.models.system_error import LogUnavailableError
from apikeyrouter.domain.proof.leaves import MalformedRowError
from apikeyrouter.domain.state import RouterState
from apikeyrouter.limits import MOST_SNAPSHOT_BYTES

KEPT = 3
_OWNER_ONLY_FOLDER = 0o700
_NAME = re.compile(r"(\d{1,19})\.(snapshot|pinned)")
_UNFIT = (
    SnapshotRefusedError,
    UnusableStateError,
    LogUnavailableError,
    MalformedRowError,
    msgspec.MsgspecError,
    zlib.error,
    OSError,
)


class OutdatedError(SnapshotRefusedError):
    """Another version of the program folded it: to be expected after every upgrade."""


class Stored(NamedTuple):
    """A file of the folder, as its name tells."""

    position: int
    is_pinned: bool
    path: Path


def snapshot_folder_beside(log_path: Path) -> Path:
    """Name the folder of snapshots that belongs to a log."""
    return log_path.with_name(f"{log_path.name}.snapshots")


class SnapshotFolder:
    """Implements `Snapshots`. `key` seals, `marks` know the log, `fold` names the program that folds."""

    def __init__(self, folder: Path, *, key: bytes, marks: Marks, fold: str) -> None:
        self.folder = folder
        self._key = key
        self._marks = marks
        self._fold = fold
        self._changing = threading.Lock()

    def nearest(
        self, until: int | None = None, *, at_us: int | None = None
    ) -> tuple[int, RouterState] | None:
        """Return the latest state that fits; what does not is told to operators, and passed over."""
        for stored in self._stored():
            if until is not None and stored.position > until:
                continue
            state = self._taken(stored, at_us)
            if state is not None:
                return state.position, state
        return None

    def freeze(self, state: RouterState) -> Frozen:
        """Copy a state in one step."""
        return Frozen(state.position, state.latest_us, FrozenState(state))

    def write(self, frozen: Frozen, *, pinned: bool = False) -> None:
        """Store what was frozen, and remove what is kept no longer."""
        try:
            with self._changing:
                self._write(frozen, is_pinned=pinned)
                if not pinned:
                    self._clear(frozen.position)
        except Exception as error:  # noqa: BLE001 - whatever it is, requests go on
            notices().warning("snapshot_not_kept", position=frozen.position, reason=_told(error))

    def keep(self, state: RouterState, *, pinned: bool = False) -> None:
        """Freeze and write."""
        self.write(self.freeze(state), pinned=pinned)

    def forget(self, *, before: int) -> None:
        """Remove all that stand before a position."""
        with self._changing:
            for stored in self._stored():
                if stored.position < before:
                    remove(stored.path)

    def _write(self, frozen: Frozen, *, is_pinned: bool) -> None:
        assert isinstance(frozen.content, FrozenState)  # noqa: S101 - it was frozen here
        first_row, row = self._marks.hash_at(1), self._marks.hash_at(frozen.position)
        if first_row is None or row is None:
            raise SnapshotRefusedError("the log does not reach its position")
        head = Head(
            position=frozen.position,
            latest_us=frozen.latest_us,
            first_row=first_row,
            row=row,
            fold=self._fold,
        )
        self._make_folder()
        path = self.folder / f"{frozen.position:016}.{'pinned' if is_pinned else 'snapshot'}"
        replace(path, sealed(head, frozen.content.encoded(), self._key), OWNER_ONLY)

    def _clear(self, newest: int) -> None:
        """Keep the newest few; ahead of the one just written stand only those of a log that was put back."""
        passing = [stored for stored in self._stored() if not stored.is_pinned]
        behind = [stored for stored in passing if stored.position <= newest]
        for stored in passing:
            if stored not in behind[:KEPT]:
                _try_remove(stored.path)
        for unfinished in self.folder.glob("*.new"):
            _try_remove(unfinished)

    def _stored(self) -> list[Stored]:
        return sorted(self._named(), reverse=True)

    def _named(self) -> Iterator[Stored]:
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                named = _NAME.fullmatch(path.name)
                if named is not None:
                    yield Stored(int(named[1]), named[2] == "pinned", path)

    def _taken(self, stored: Stored, at_us: int | None) -> RouterState | None:
        """Return the state of a file, None if it is not to be used."""
        try:
            head, deflated = opened(_read(stored.path), self._key)
            self._check(head, stored.position)
            if at_us is not None and head.latest_us > at_us:
                return None
            state = thawed(zlib.decompress(deflated))
            _check_state(state, head)
        except FileNotFoundError:
            return None  # another process removed it meanwhile
        except OutdatedError:
            notices().info("snapshot_outdated", file=stored.path.name)
            return None
        except _UNFIT as error:
            notices().warning("snapshot_ignored", file=stored.path.name, reason=_told(error))
            return None
        return state

    def _check(self, head: Head, position: int) -> None:
        if head.position != position:
            raise SnapshotRefusedError("its name is not its own")
        if head.fold != self._fold:
            raise OutdatedError("another version of the program made it")
        if head.first_row != self._marks.hash_at(1):
            raise SnapshotRefusedError("it belongs to another log")
        if head.row != self._marks.hash_at(position):
            raise SnapshotRefusedError("the log has another event at its position, or none")

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=_OWNER_ONLY_FOLDER, exist_ok=True)
        if self.folder.is_symlink():
            raise SnapshotRefusedError(f"{self.folder} leads elsewhere")


def _check_state(state: RouterState, head: Head) -> None:
    if (state.position, state.latest_us) != (head.position, head.latest_us):
        raise SnapshotRefusedError("it holds another state than it says")


def _read(path: Path) -> bytes:
    """Read a plain file; whatever else has its name is refused without waiting for it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_size > MOST_SNAPSHOT_BYTES:
            raise SnapshotRefusedError("it is no file, or far too large")
        return file.read()


def _try_remove(path: Path) -> None:
    """Remove a file of ours; something else that has its name stays."""
    with contextlib.suppress(OSError):
        remove(path)


def _told(error: Exception) -> str:
    return f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
