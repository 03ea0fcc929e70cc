"""What tests of budgets on the whole line share: prices, a talkative provider and its bill."""

from decimal import Decimal

from loopback import eventually

from apikeyrouter.application.replay import verify
from apikeyrouter.domain.pricing import usd
from apikeyrouter.interfaces.cost_controller import CostController
from apikeyrouter.interfaces.scripted_provider import KeyScript

PRICES = {"input_usd_per_mtok": 30, "output_usd_per_mtok": 60}
CHEAP = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
BRIEF = {"max_tokens": 10}
BY_ITS_BYTES = {**BRIEF, "response_format": {"type": "text"}}
"""What nobody can count keeps the bound that its bytes are."""
TOKENS = 7
"""How many the provider makes where the test says nothing else."""


def talkative(*names: str, **behaviour) -> dict[str, KeyScript]:
    """Script keys that answer with a known number of tokens."""
    told = {"output_tokens": TOKENS, **behaviour}
    return {name: KeyScript(**told) for name in names}


def money(proxy) -> CostController:
    """Return a proxy's node as the library would show it."""

    async def node():
        return proxy.node

    return CostController(node)


async def spent(controller, budget_id) -> Decimal:
    return (await controller.get_budget(budget_id)).spent


def bill(*providers) -> Decimal:
    """Return what the providers say that they are owed, by the prices of the test."""
    calls = [call for provider in providers for call in provider.ledger(10_000).calls]
    return sum(
        (usd(call.input_tokens * 30_000 + call.output_tokens * 60_000) for call in calls), start=Decimal(0)
    )


async def in_good_order(node) -> None:
    """Nothing is held any more, and every decision comes out again from the log."""
    await eventually(lambda: len(list(node.reader.read())) == node.state.position)
    assert not node.state.open_requests
    assert not node.state.budgets.accounts.reserved.any()
    result = verify(list(node.reader.read()))
    assert result.identical, result.differences
