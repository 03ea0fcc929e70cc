"""What is left of quotas, and when they run out."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query

from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.models.quota_state import (
    AccountForecast,
    AccountQuota,
    ExhaustionPrediction,
    QuotaState,
)
from apikeyrouter.interfaces.http.node_access import NodeDependency
from apikeyrouter.interfaces.quota_views import Outlook, Standing, account_forecast, account_quota

MOST_ACCOUNTS = 1000
ACCOUNTS_A_TURN = 16
"""After so many the loop serves others: each takes some sixty microseconds."""

router = APIRouter(tags=["quotas"])

After = Annotated[int, Query(ge=0, description="Skip so many accounts.")]
Most = Annotated[int, Query(ge=1, le=MOST_ACCOUNTS)]


@router.get("/quotas")
async def list_quotas(node: NodeDependency, after: After = 0, limit: Most = 100) -> list[AccountQuota]:
    """List the accounts of all keys, in the order in which their limits became known."""
    return [account_quota(standing) async for standing in _page(node, after, limit)]


@router.get("/quotas/{key_id}")
async def quota_state(key_id: str, node: NodeDependency) -> QuotaState:
    """Tell what is left of a key's quotas; a key without a known limit is `unknown`, with no numbers."""
    return _outlook(node).quota_state(node.manage.key(key_id))


@router.get("/forecasts")
async def list_forecasts(node: NodeDependency, after: After = 0, limit: Most = 100) -> list[AccountForecast]:
    """Foresee of every account whether and when it runs out before its window gives back."""
    return [account_forecast(standing) async for standing in _page(node, after, limit)]


@router.get("/forecasts/{key_id}")
async def prediction(key_id: str, node: NodeDependency) -> ExhaustionPrediction:
    """Foresee whether and when a key runs out: by the likeliest of its accounts."""
    return _outlook(node).prediction(node.manage.key(key_id))


def _outlook(node: Node) -> Outlook:
    return Outlook(node.state, node.clock.now_us())


async def _page(node: Node, after: int, limit: int) -> AsyncIterator[Standing]:
    for place, standing in enumerate(_outlook(node).standings(after, limit), 1):
        yield standing
        if place % ACCOUNTS_A_TURN == 0:
            await asyncio.sleep(0)
