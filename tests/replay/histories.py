"""Histories that tests go back to: made by the real line and scripted providers, much going wrong."""

import asyncio
import contextlib
from pathlib import Path

from loopback import material_of, scripted
from quota_givens import ask, ask_all, asking, provide, read_stream, running_node

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.domain.budget_terms import parse_terms
from apikeyrouter.domain.events import Recorded
from apikeyrouter.domain.models.budget import BudgetScope
from apikeyrouter.domain.offers import parse_offers, parse_prices
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings

CHEAP = {"model": "gpt-4", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
DEAR = {"model": "gpt-4", "input_usd_per_mtok": 10, "output_usd_per_mtok": 30}


def struck(status: int, *, first: int, after: int = 0, **details) -> KeyScript:
    fault = Fault(kind=FaultKind.Status, status=status, first=first, after=after, **details)
    return KeyScript(faults=(fault,), latency_ms=2)


async def troubled_history(path: Path | None = None, *, requests: int = 160) -> list[Recorded]:
    """Serve requests over keys that throttle, fail, are rejected and cut streams, while managers act."""
    settings = RouterSettings(
        queue_timeout_s=0.4, synchronous="NORMAL", database_url=None if path is None else str(path)
    )
    cut = KeyScript(faults=(Fault(kind=FaultKind.CutMidStream, first=2),), latency_ms=1)
    near = scripted(
        "good",
        limited=struck(429, first=3, after=4, retry_after=1),
        dead=struck(401, first=1),
        cut=cut,
        tight=KeyScript(latency_ms=4),
    )
    far = scripted(weak=struck(500, first=12, after=2), spare=KeyScript(latency_ms=6, rpm=400))
    async with (
        ScriptedProvider(near) as openai,
        ScriptedProvider(far) as azure,
        running_node(settings) as node,
    ):
        await _offered(node, openai, "openai", DEAR)
        await _offered(node, azure, "azure", CHEAP)
        ids = await provide(
            node, openai, good={}, limited={}, dead={}, cut={}, tight={"rpm": 20, "tpm": 4000}
        )
        ids += await provide(node, azure, provider_id="azure", weak={}, spare={"max_concurrency": 2})
        terms = parse_terms("0.04", "daily", "soft", alerts_percent=[10, 50, 90])
        await node.budgets.open(terms, actor="test", scope=BudgetScope.Global, name="all")
        terms = parse_terms("5", "hourly", "hard")
        await node.budgets.open(terms, actor="test", scope=BudgetScope.PerProvider, scope_id="openai")
        await _streams(node, 16)
        await ask_all(node, requests // 4, at_once=8)
        manage = node.manage
        await manage.drain_key(ids[0], actor="test")
        await node.prices.set_price("azure", "gpt-4", parse_prices(_prices(3)), actor="test")
        await ask_all(node, requests // 4, at_once=6)
        with contextlib.suppress(Exception):
            await manage.rotate_key(ids[2], material_of("good-again"), actor="test")
        await manage.enable_key(ids[0], actor="test")
        await manage.pin_key(ids[1], actor="test")
        await manage.change_key_metadata(ids[4], {"rpm": 30, "tpm": 9000}, actor="test")
        await ask_all(node, requests // 4, at_once=12)
        await _one_leaves(node)
        await asyncio.sleep(1.1)  # the rest of the throttled key ends, and that is an event
        await ask_all(node, requests // 4, at_once=8)
        await manage.revoke_key(ids[3], actor="test")
        await ask(node)
        return list(node.reader.read())


async def _offered(node, provider: ScriptedProvider, provider_id: str, offer: dict) -> None:
    adapter = OpenAIAdapter(base_url=provider.base_url, models=parse_offers([offer]))
    await node.manage.register_provider(provider_id, adapter, actor="test")


async def _streams(node, count: int) -> None:
    orders = [asking(stream=True, tokens=40) for _ in range(count)]
    reads = (
        read_stream(node, order, chunks=2 if number % 4 == 0 else None) for number, order in enumerate(orders)
    )
    await asyncio.gather(*reads, return_exceptions=True)


async def _one_leaves(node) -> None:
    task = asyncio.create_task(ask(node))
    await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _prices(usd: int) -> dict[str, int]:
    return {"input_usd_per_mtok": usd, "output_usd_per_mtok": 2 * usd}
