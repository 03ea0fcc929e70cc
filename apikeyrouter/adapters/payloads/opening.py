"""Open the store of bodies that belongs to a log."""

from apikeyrouter.adapters.payloads.files import PayloadFiles
from apikeyrouter.adapters.vault.master_key import load_master_key
from apikeyrouter.settings import RouterSettings


def open_payloads(settings: RouterSettings) -> PayloadFiles:
    """Return the store beside the log that the settings name, under the master key that they lead to."""
    log_path, explicit = settings.database_path, settings.encryption_key
    master_key = load_master_key(
        explicit=None if explicit is None else explicit.get_secret_value(),
        key_file=settings.master_key_file,
        log_path=log_path,
    )
    return PayloadFiles(log_path, master_key)
