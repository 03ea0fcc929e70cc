"""What `doctor` finds of the vault: its master key, and the material of the keys that the log knows."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.vault import SealedVault, key_path_beside, vault_path_beside
from apikeyrouter.application.manage import without_material
from apikeyrouter.interfaces.cli.findings import Finding
from apikeyrouter.interfaces.cli.log_access import folded
from apikeyrouter.settings import RouterSettings

OTHERS = 0o077
MOST_NAMED = 5
NO_VAULT = "none yet: the first key makes it"


def look_at_vault(settings: RouterSettings) -> Iterator[Finding]:
    """Say if the master key is safe, if it opens the vault, and if that holds the material of every key."""
    master_key = _master_key(settings)
    yield master_key
    path = settings.database_path
    if path is None:
        yield Finding("ok", "vault", NO_VAULT)
    elif not vault_path_beside(path).exists():
        yield from _lost_vault(path)
    elif master_key.status == "ok":
        yield from _opened_vault(settings, path)


def _opened_vault(settings: RouterSettings, path: Path) -> Iterator[Finding]:
    vault = SealedVault.open(settings)
    try:
        yield Finding("ok", "vault", f"{vault_path_beside(path)} opens with the master key")
        yield from _lost_material(path, vault.key_ids)
    finally:
        vault.close()


def _lost_vault(path: Path) -> Iterator[Finding]:
    """Tell a vault that is gone from one that was never made: the first has left keys behind."""
    lost = [*_lost_material(path, lambda: ())]
    yield from lost or [Finding("ok", "vault", NO_VAULT)]


def _lost_material(path: Path, sealed: Callable[[], Collection[str]]) -> Iterator[Finding]:
    if not path.exists():
        return
    try:
        keys_by_id = folded(SqliteReader(path)).keys
    except LookupError:  # a hole in the log, which `log positions` names, may lack what later events build on
        yield Finding("fail", "key material", "cannot be compared: the log's events do not fold")
        return
    # The vault is asked after the log: a key that is registered meanwhile is sealed before it is recorded.
    missing = without_material(keys_by_id, sealed())
    if missing:
        vault = vault_path_beside(path)
        holds = "holds no material" if vault.exists() else "is gone, and with it the material"
        advice = "stop the router and bring the vault file back, or rotate each (`apikeyrouter keys rotate`)"
        yield Finding("fail", "key material", f"{vault} {holds} of {_named(missing)}: {advice}")


def _named(key_ids: list[str]) -> str:
    """Count keys, and name the first of them."""
    more = ", …" if len(key_ids) > MOST_NAMED else ""
    noun = "key" if len(key_ids) == 1 else "keys"
    return f"{len(key_ids):,} {noun} ({', '.join(key_ids[:MOST_NAMED])}{more})"


def _master_key(settings: RouterSettings) -> Finding:
    path = settings.database_path
    if settings.encryption_key is not None:
        return Finding("ok", "master key", "from APIKEYROUTER_ENCRYPTION_KEY")
    file = settings.master_key_file or (None if path is None else key_path_beside(path))
    if file is None:
        return Finding("ok", "master key", "made anew for every run")
    if not file.exists():
        return _no_master_key(settings, file)
    mode = file.stat().st_mode & 0o777
    if mode & OTHERS:
        return Finding("fail", "master key", f"{file} is open to others (mode {mode:o}): chmod 600 {file}")
    return Finding("ok", "master key", f"{file}, mode {mode:o}")


def _no_master_key(settings: RouterSettings, file: Path) -> Finding:
    path = settings.database_path
    vault = None if path is None else vault_path_beside(path)
    if vault is not None and vault.exists():
        advice = "bring it back, or set APIKEYROUTER_ENCRYPTION_KEY"
        return Finding("fail", "master key", f"{file} is gone, and only it opens the vault {vault}: {advice}")
    status = "ok" if settings.master_key_file is None else "fail"
    return Finding(status, "master key", f"{file} does not exist yet")
