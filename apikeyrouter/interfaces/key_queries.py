"""Questions about keys, as the library answers them."""

from collections.abc import Awaitable, Callable

from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.models.api_key import ELIGIBLE_STATES, APIKey
from apikeyrouter.interfaces.views import api_key


class KeyQueries:
    """Questions about keys, answered from the state."""

    def __init__(self, open_node: Callable[[], Awaitable[Node]]) -> None:
        self._open_node = open_node

    async def get_key(self, key_id: str) -> APIKey:
        """Return one key, or raise `NotFoundError`."""
        node = await self._open_node()
        return api_key(node.state, node.manage.key(key_id))

    async def list_keys(self, provider_id: str | None = None) -> list[APIKey]:
        """Return all keys, in the order of their registration."""
        node = await self._open_node()
        return [
            api_key(node.state, key)
            for key in node.state.keys.values()
            if provider_id is None or key.provider_id == provider_id
        ]

    async def get_eligible_keys(self, provider_id: str | None = None) -> list[APIKey]:
        """Return the keys that may be chosen now as far as their state goes."""
        return [key for key in await self.list_keys(provider_id) if key.state in ELIGIBLE_STATES]
