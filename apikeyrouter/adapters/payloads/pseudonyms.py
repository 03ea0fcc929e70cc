"""Names under which persons appear in events: keyed hashes, which only the master key could make again."""

import hashlib
import hmac

from apikeyrouter.adapters.vault.envelope import derive_key

HEX_DIGITS = 32
_CLIENT, _PERSON = b"client", b"person"


class Pseudonyms:
    """Bound to the client: the same person at another client has another name."""

    __slots__ = ("_keyed",)

    def __init__(self, master_key: bytes) -> None:
        self._keyed = hmac.new(derive_key(master_key, b"payload-subjects"), digestmod=hashlib.sha256)

    def __repr__(self) -> str:
        return "Pseudonyms(…)"

    def of(self, client_id: str, person: str | None) -> str:
        """Return the name of a client's person; without one, that of the client itself."""
        kind, name = (_CLIENT, "") if person is None else (_PERSON, person)
        keyed = self._keyed.copy()
        for text in (kind, client_id.encode(), name.encode("utf-8", "surrogatepass")):
            keyed.update(len(text).to_bytes(8, "big") + text)
        return keyed.hexdigest()[:HEX_DIGITS]
