"""The data keys of subjects, sealed under the master key, in a file that keeps nothing of shredded ones."""

import os
from collections.abc import Sequence
from pathlib import Path

from apikeyrouter.adapters.vault.envelope import Envelope, SealBrokenError
from apikeyrouter.adapters.vault.store import VaultStore
from apikeyrouter.domain.models.system_error import ConfigurationError

DATA_KEY_BYTES = 32


class SubjectKeys:
    """Keys by pseudonym. None is kept in memory, so that a shredded one is gone at once."""

    def __init__(self, path: Path | None, master_key: bytes) -> None:
        self._path = path
        self._envelope = Envelope(master_key)
        self._opened: VaultStore | None = None

    def get(self, subject: str) -> bytes | None:
        """Return a subject's key, None if it has none; raise `SealBrokenError` if its row is damaged."""
        if self._opened is None and not self._is_there():
            return None
        sealed = self._store().get(subject)
        return None if sealed is None else self._envelope.unseal(subject, sealed)

    def made(self, subject: str) -> bytes:
        """Return a subject's key, made and durable if there was none."""
        key = self.get(subject)
        if key is None:
            key = os.urandom(DATA_KEY_BYTES)
            self._store().put(subject, self._envelope.seal(subject, key))
        return key

    def fingerprint(self, key: bytes) -> str:
        """Return a keyed hash of a key, by which events name it; nothing of the key can be told from it."""
        return self._envelope.fingerprint(key)

    def shred(self, subjects: Sequence[str]) -> None:
        """Overwrite keys; the file is rewritten, so that no copy is left in its free pages."""
        if self._opened is not None or self._is_there():
            self._store().delete(*subjects)

    def fingerprints(self) -> set[str]:
        """Return the fingerprints of all keys that open."""
        if self._opened is None and not self._is_there():
            return set()
        found = set()
        for subject in self._store().subjects():
            try:
                key = self.get(subject)
            except SealBrokenError:
                continue
            if key is not None:
                found.add(self.fingerprint(key))
        return found

    def close(self) -> None:
        """Give the file back."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _is_there(self) -> bool:
        return self._path is not None and self._path.exists()

    def _store(self) -> VaultStore:
        if self._opened is None:
            store = VaultStore(self._path)
            self._refuse_another_master_key(store)
            self._opened = store
        return self._opened

    def _refuse_another_master_key(self, store: VaultStore) -> None:
        check = store.check()
        if check is None and store.is_empty():
            store.put_check(self._envelope.seal_check())
        elif check is None or not self._envelope.opens(check):
            store.close()
            raise ConfigurationError(
                f"the data keys {store.place} were sealed with another master key", param="encryption_key"
            )
