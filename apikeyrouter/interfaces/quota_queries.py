"""Questions about quotas, as the library answers them."""

from collections.abc import Awaitable, Callable

from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.models.quota_state import ExhaustionPrediction, QuotaState
from apikeyrouter.interfaces.quota_views import Outlook


class QuotaQueries:
    """Questions about quotas, answered from the state and what demand it has seen."""

    def __init__(self, open_node: Callable[[], Awaitable[Node]]) -> None:
        self._open_node = open_node

    async def get_quota_state(self, key_id: str) -> QuotaState:
        """Return what is left of a key's quotas, or raise `NotFoundError`."""
        node = await self._open_node()
        key = node.manage.key(key_id)
        return Outlook(node.state, node.clock.now_us()).quota_state(key)

    async def predict_exhaustion(self, key_id: str) -> ExhaustionPrediction:
        """Return whether and when a key runs out, or raise `NotFoundError`."""
        node = await self._open_node()
        key = node.manage.key(key_id)
        return Outlook(node.state, node.clock.now_us()).prediction(key)
