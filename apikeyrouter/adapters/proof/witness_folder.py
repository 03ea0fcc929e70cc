"""What a witness keeps: its own key, and the last checkpoint of each log, in a folder of files."""

import base64
import os
from hashlib import sha256
from pathlib import Path

from apikeyrouter.adapters.eventlog.lock import WriterLock
from apikeyrouter.adapters.proof.durable_files import OWNER_ONLY, replace, write_new
from apikeyrouter.adapters.proof.signing import NoteSigner
from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.domain.proof.notes import Note, NoteError, parse_note

_SEED_BYTES = 32
_NAME_DIGITS = 32


class WitnessFolder:
    """Implements `Memory`; held by one process until `close`."""

    def __init__(self, folder: Path, name: str) -> None:
        """Open a folder, made if need be; `name` is the witness's, and stands in its cosignatures."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = WriterLock(folder / "witness")
            self.signer = NoteSigner(name, _seed_in(folder / "witness.key"))
        except OSError as error:
            raise ConfigurationError(f"the folder {folder} of the witness cannot be used: {error}") from None
        self._folder = folder

    def recall(self, origin: str) -> Note | None:
        """Return the last checkpoint that was cosigned of a log."""
        path = self._path(origin)
        if not path.exists():
            return None
        try:
            return parse_note(path.read_bytes())
        except NoteError as error:
            raise ConfigurationError(f"{path} is no checkpoint any more: {error}") from None

    def remember(self, origin: str, note: Note) -> None:
        """Put a checkpoint in the place of the one before."""
        replace(self._path(origin), note.render().encode())

    def close(self) -> None:
        """Let another process use the folder."""
        self._lock.release()

    def _path(self, origin: str) -> Path:
        """Name the file of a log: by a hash, as an origin may be any text."""
        return self._folder / f"{sha256(origin.encode()).hexdigest()[:_NAME_DIGITS]}.checkpoint"


def _seed_in(path: Path) -> bytes:
    if not path.exists():
        write_new(path, base64.b64encode(os.urandom(_SEED_BYTES)) + b"\n", OWNER_ONLY)
    try:
        seed = base64.b64decode(path.read_bytes().strip(), validate=True)
    except ValueError:
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise ConfigurationError(f"{path} is no key of a witness")
    return seed
