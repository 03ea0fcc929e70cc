"""Where the master key comes from: a setting, a file that is named, or a file beside the log."""

import base64
import binascii
import os
import re
from pathlib import Path

from apikeyrouter.adapters.vault.envelope import MASTER_KEY_BYTES
from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.limits import MOST_MASTER_KEY_FILE_BYTES

_OWNER_ONLY = 0o600
_OTHERS = 0o077
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_TO_STANDARD = str.maketrans("-_", "+/")
_WANTED = (
    "must be 32 random bytes, as 44 characters of base64 (a Fernet key is that) or as 64 hex digits;"
    ' make one with: python -c "import base64, os;'
    ' print(base64.urlsafe_b64encode(os.urandom(32)).decode())"'
)


def vault_path_beside(log_path: Path) -> Path:
    """Name the vault that belongs to a log."""
    return log_path.with_name(f"{log_path.name}.vault")


def key_path_beside(log_path: Path) -> Path:
    """Name the master key's file that belongs to a log, where no other source is given."""
    return log_path.with_name(f"{log_path.name}.key")


def load_master_key(*, explicit: str | None, key_file: Path | None, log_path: Path | None) -> bytes:
    """Return the master key from the one source that applies; a log's first use makes its key file."""
    if explicit is not None and key_file is not None:
        raise ConfigurationError(
            "APIKEYROUTER_ENCRYPTION_KEY and APIKEYROUTER_MASTER_KEY_FILE are both set: keep one of them",
            param="master_key_file",
        )
    if explicit is not None:
        return parse_master_key(explicit)
    if key_file is not None:
        return _read(key_file)
    if log_path is None:
        return os.urandom(MASTER_KEY_BYTES)
    return _own_file(log_path)


def parse_master_key(text: str, source: str = "APIKEYROUTER_ENCRYPTION_KEY") -> bytes:
    """Read 32 bytes from base64 (either alphabet) or hex; anything else is refused without being shown."""
    text = text.strip()
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    try:
        key = base64.b64decode(text.translate(_TO_STANDARD) + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        key = b""
    if len(key) != MASTER_KEY_BYTES:
        raise ConfigurationError(f"{source} {_WANTED}", param="encryption_key")
    return key


def _own_file(log_path: Path) -> bytes:
    path, vault = key_path_beside(log_path), vault_path_beside(log_path)
    if path.exists():
        _refuse_if_others_may_read(path)
        return _read(path)
    if vault.exists():
        raise ConfigurationError(
            f"the vault {vault} exists, but the file {path} with its master key is gone: bring it back,"
            " or set APIKEYROUTER_ENCRYPTION_KEY",
            param="encryption_key",
        )
    return _make(path)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(MOST_MASTER_KEY_FILE_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"the master key file {path} cannot be read: {error.strerror}", param="master_key_file"
        ) from None
    return parse_master_key(text.decode("ascii", "replace"), f"the master key file {path}")


def _make(path: Path) -> bytes:
    """Create the file, never over another one, and make it outlive a power cut before it is used."""
    key = os.urandom(MASTER_KEY_BYTES)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.urlsafe_b64encode(key) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(path.parent)
    except OSError as error:
        raise ConfigurationError(
            f"the master key file {path} cannot be made: {error.strerror}", param="master_key_file"
        ) from None
    return key


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_if_others_may_read(path: Path) -> None:
    mode = path.stat().st_mode & 0o777
    if mode & _OTHERS:
        raise ConfigurationError(
            f"the master key file {path} is open to other users (mode {mode:o}): chmod 600 {path}",
            param="master_key_file",
        )
