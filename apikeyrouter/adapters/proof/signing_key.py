"""The log's signing key: a file beside the log, the private half sealed under the vault's master key."""

import os
from pathlib import Path

import msgspec

from apikeyrouter.adapters.proof.durable_files import OWNER_ONLY, write_new
from apikeyrouter.adapters.proof.signing import NoteSigner
from apikeyrouter.adapters.vault.envelope import Envelope, SealBrokenError, Sealed
from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.domain.proof.notes import NoteError, VerifierKey, parse_key

_SEED_BYTES = 32
_SUBJECT = "signing-key"


class KeyFile(msgspec.Struct, frozen=True):
    """What the file holds: the public half as it is, the seed of the private half sealed."""

    verifier: str
    data_key: bytes
    material: bytes


def signing_key_path(log_path: Path) -> Path:
    """Name the file that belongs to a log."""
    return log_path.with_name(f"{log_path.name}.signing-key")


def make_signer(log_path: Path, origin: str, envelope: Envelope) -> NoteSigner:
    """Make the key of a log that has none yet."""
    path, seed = signing_key_path(log_path), os.urandom(_SEED_BYTES)
    signer = NoteSigner(origin, seed)
    sealed = envelope.seal(f"{_SUBJECT}/{signer.key.render()}", seed)
    try:
        write_new(path, msgspec.json.encode(KeyFile(signer.key.render(), *sealed)) + b"\n", OWNER_ONLY)
    except OSError as error:
        raise ConfigurationError(f"the signing key {path} cannot be made: {error.strerror}") from None
    return signer


def load_signer(log_path: Path, envelope: Envelope) -> NoteSigner:
    """Open the key of a log, or say why that cannot be."""
    path = signing_key_path(log_path)
    stored = _read(path)
    try:
        sealed = Sealed(stored.data_key, stored.material)
        seed = envelope.unseal(f"{_SUBJECT}/{stored.verifier}", sealed)
    except SealBrokenError:
        raise ConfigurationError(
            f"the signing key {path} was sealed with another master key, or was changed: bring back the one"
            " that belongs to this log",
            param="encryption_key",
        ) from None
    return NoteSigner(_key_of(stored, path).name, seed)


def read_verifier_key(log_path: Path) -> VerifierKey | None:
    """Return the public half; None if the log was never sealed."""
    path = signing_key_path(log_path)
    return _key_of(_read(path), path) if path.exists() else None


def _read(path: Path) -> KeyFile:
    try:
        return msgspec.json.decode(path.read_bytes(), type=KeyFile)
    except OSError as error:
        raise ConfigurationError(f"the signing key {path} cannot be read: {error.strerror}") from None
    except msgspec.MsgspecError:
        raise ConfigurationError(f"{path} is no signing key") from None


def _key_of(stored: KeyFile, path: Path) -> VerifierKey:
    try:
        return parse_key(stored.verifier)
    except NoteError as error:
        raise ConfigurationError(f"{path} is no signing key: {error}") from None
