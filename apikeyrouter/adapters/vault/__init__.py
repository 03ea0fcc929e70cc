"""Where key material lives: sealed on disk, open only in the memory of this process."""

from apikeyrouter.adapters.vault.master_key import (
    key_path_beside,
    load_master_key,
    parse_master_key,
    vault_path_beside,
)
from apikeyrouter.adapters.vault.sealed_vault import Listener, SealedVault

__all__ = [
    "Listener",
    "SealedVault",
    "key_path_beside",
    "load_master_key",
    "parse_master_key",
    "vault_path_beside",
]
