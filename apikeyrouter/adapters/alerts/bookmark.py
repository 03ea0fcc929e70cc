"""Up to where in the log a receiver has been told: a small file beside it, replaced as a whole."""

import contextlib
from pathlib import Path

import msgspec

from apikeyrouter.adapters.proof.durable_files import replace
from apikeyrouter.application.notices import notices

MOST_BYTES = 4096


class _Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    delivered_position: int


class Bookmark:
    """A position that outlives the process, where the log does."""

    def __init__(self, log_path: Path | None, head: int) -> None:
        """Begin at `head` in a log of which nothing was told so far: old alerts are no news."""
        self._path = None if log_path is None else log_path.with_name(f"{log_path.name}.alerts")
        self.position = head
        if self._path is None:
            return
        kept = _read(self._path)
        if kept is None:
            self.move(head)
        else:
            self.position = min(kept, head)  # the log may have been put back to an earlier copy

    def move(self, position: int) -> None:
        """Remember a position; where that cannot be written, what follows is told again after a restart."""
        self.position = position
        if self._path is None:
            return
        try:
            replace(self._path, msgspec.json.encode(_Told(position)))
        except OSError as error:
            notices().warning("alert_position_not_kept", reason=error.strerror)


def _read(path: Path) -> int | None:
    """Return the position that was kept, None if there is none; after garbage everything is told again."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        try:
            return max(msgspec.json.decode(file.read(MOST_BYTES), type=_Told).delivered_position, 0)
        except msgspec.MsgspecError:
            notices().warning("alert_position_unreadable", file=path.name)
            return 0
    return None
