"""The vault port on SQLite: material is sealed at rest, and opened once per process."""

from collections.abc import Callable
from pathlib import Path

from apikeyrouter.adapters.vault.envelope import Envelope, SealBrokenError
from apikeyrouter.adapters.vault.master_key import load_master_key, vault_path_beside
from apikeyrouter.adapters.vault.store import VaultStore
from apikeyrouter.domain.models.system_error import (
    ConfigurationError,
    InvalidRequestError,
    KeyMaterialMissingError,
)
from apikeyrouter.limits import MOST_MATERIAL_BYTES
from apikeyrouter.settings import RouterSettings

Listener = Callable[[str], None]


class SealedVault:
    """Key material by key id. `heard` is told every material that enters this process's memory."""

    def __init__(self, path: Path | None, master_key: bytes, *, heard: Listener | None = None) -> None:
        self._envelope = Envelope(master_key)
        self._store = VaultStore(path)
        self._heard = heard
        self._unsealed: dict[str, str] = {}
        self._refuse_another_master_key()

    @classmethod
    def open(cls, settings: RouterSettings, *, heard: Listener | None = None) -> "SealedVault":
        """Open the vault beside the log that the settings name, with the master key that they lead to."""
        log_path, explicit = settings.database_path, settings.encryption_key
        master_key = load_master_key(
            explicit=None if explicit is None else explicit.get_secret_value(),
            key_file=settings.master_key_file,
            log_path=log_path,
        )
        return cls(None if log_path is None else vault_path_beside(log_path), master_key, heard=heard)

    def __repr__(self) -> str:
        return f"SealedVault({self._store.place!r})"

    def fingerprint(self, material: str) -> str:
        """Return a keyed hash by which the same material is recognised."""
        return self._envelope.fingerprint(_encoded(material))

    def seal(self, key_id: str, material: str) -> None:
        """Store the material durably, replacing what was there."""
        self._store.put(key_id, self._envelope.seal(key_id, _encoded(material)))
        self._keep(key_id, material)

    def unseal(self, key_id: str) -> str:
        """Return the material, or raise `KeyMaterialMissingError`."""
        try:
            return self._unsealed[key_id]
        except KeyError:
            pass
        material = self._open(key_id)
        self._keep(key_id, material)
        return material

    def destroy(self, key_id: str) -> None:
        """Overwrite and forget the material."""
        self._unsealed.pop(key_id, None)
        self._store.delete(key_id)

    def key_ids(self) -> list[str]:
        """Return the ids under which material is sealed."""
        return self._store.subjects()

    def close(self) -> None:
        """Forget what is open, and give the store back."""
        self._unsealed.clear()
        self._store.close()

    def _keep(self, key_id: str, material: str) -> None:
        self._unsealed[key_id] = material
        if self._heard is not None:
            self._heard(material)

    def _open(self, key_id: str) -> str:
        sealed = self._store.get(key_id)
        if sealed is None:
            raise KeyMaterialMissingError(f"the vault {self._store.place} has no material for key {key_id}")
        try:
            return self._envelope.unseal(key_id, sealed).decode()
        except SealBrokenError:
            raise KeyMaterialMissingError(
                f"the vault {self._store.place} holds a damaged row for key {key_id}: rotate its material"
            ) from None

    def _refuse_another_master_key(self) -> None:
        check = self._store.check()
        if check is None and self._store.is_empty():
            self._store.put_check(self._envelope.seal_check())
        elif check is None or not self._envelope.opens(check):
            self._store.close()
            raise ConfigurationError(
                f"the vault {self._store.place} was sealed with another master key: give the one that was in"
                " use when it was made (APIKEYROUTER_ENCRYPTION_KEY, APIKEYROUTER_MASTER_KEY_FILE or the"
                " .key file beside the log)",
                param="encryption_key",
            )


def _encoded(material: str) -> bytes:
    try:
        encoded = material.encode()
    except UnicodeEncodeError:  # its arguments hold the material
        raise InvalidRequestError("key material is not valid Unicode text", param="key_material") from None
    if not 0 < len(encoded) <= MOST_MATERIAL_BYTES:
        raise InvalidRequestError(
            f"key material must have 1 to {MOST_MATERIAL_BYTES} bytes, not {len(encoded)}",
            param="key_material",
        )
    return encoded
