"""An hour of real traffic through the proxy while keys fail, quotas and budgets run short, and managers act.

The wall clock is that of the trace, so that minutes of quotas and hours of budgets pass as they did, while
the hour is over as soon as it has been served.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from loopback import MODEL, RunningProxy, material_of, running_proxy, scripted
from quota_givens import HOUR_US, MINUTE_US, NOON_US, SECOND_US, WallClock

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.providers.httptools_transport import HttptoolsTransport
from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.adapters.providers.transport import Deadlines, HttpRequest
from apikeyrouter.adapters.reports.store import ReadModelFile
from apikeyrouter.application.projections.projector import catch_up
from apikeyrouter.domain.budget_terms import parse_terms
from apikeyrouter.domain.models.budget import BudgetScope
from apikeyrouter.domain.offers import parse_offers, parse_prices
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider
from apikeyrouter.interfaces.traffic import Arrival
from apikeyrouter.settings import RouterSettings

IN_FLIGHT = 128
BEGIN_US = NOON_US + HOUR_US // 2  # the full hour strikes in the middle, and with it the budgets' windows
CLOCK_STEPS = ((0.2, 40 * SECOND_US), (0.6, 3 * MINUTE_US), (0.9, 4 * MINUTE_US))
OBJECTIVES = ("fairness", "cost", "reliability", "latency")
CHEAP = {"model": MODEL, "input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
DEAR = {"model": MODEL, "input_usd_per_mtok": 10, "output_usd_per_mtok": 30}


def failing(status: int, **when) -> KeyScript:
    return KeyScript(faults=(Fault(kind=FaultKind.Status, status=status, **when),))


DEAR_KEYS = {
    "dead": failing(401),
    "flaky": failing(500, probability=0.2),
    "slow": KeyScript(latency_ms=(20, 60)),
    "dying": failing(401, after=500),
    "garbled": KeyScript(faults=(Fault(kind=FaultKind.TruncatedJson, probability=0.05),)),
}
CHEAP_KEYS = {
    "throttled": KeyScript(rpm=600),
    "refusing": failing(429, after=200, first=20, retry_after=2),
    "down": failing(503, after=400, first=30),
    "cut": KeyScript(faults=(Fault(kind=FaultKind.CutMidStream, probability=0.1),)),
}
DECLARED = {
    "plain0": {},
    "plain1": {"rpm": 40, "tpm": 90_000},
    "plain2": {"max_concurrency": 3, "weight": 2},
    "refusing": {"rpm": 100, "itpm": 60_000},
    "down": {"rpd": 3000},
}


class Hour:
    """What is left of it: the log's file, and the statuses that clients saw."""

    def __init__(self, folder: Path, requests: int) -> None:
        self.log = folder / "log.db"
        self.reports = folder / "grown.reports.db"
        self.requests = requests
        self.statuses: Counter[int] = Counter()
        self._clock: WallClock

    async def live(self, clock: WallClock, arrivals: Sequence[Arrival]) -> None:
        """Serve all arrivals in two lives of the proxy."""
        self._clock = clock
        settings = RouterSettings(database_url=str(self.log), synchronous="NORMAL")
        coming = iter(enumerate(arrivals))
        third = len(arrivals) // 3
        dear, cheap = scripted("plain0", "plain1", **DEAR_KEYS), scripted("plain2", **CHEAP_KEYS)
        async with ScriptedProvider(dear) as openai, ScriptedProvider(cheap) as azure:
            async with running_proxy(settings) as proxy:
                await self._set_up(proxy, openai, azure)
                await self._play(proxy, coming, third)
                await self._change_prices(proxy, 3)
                for name in ("plain2", *CHEAP_KEYS):
                    azure.change_key(name, faults=failing(503, first=40).faults)
                await self._play(proxy, coming, third // 2)
                await self._keep_read_models()
            async with running_proxy(settings) as proxy:
                await self._play(proxy, coming, third // 2)
                await self._manage(proxy)
                await self._keep_read_models()
                await self._play(proxy, coming, None)
        await self._keep_read_models()

    def _behind_us(self, number: int) -> int:
        """Tell how far the clock was set back by then, each time while calls were under way."""
        part = number / self.requests
        return max((behind_us for since, behind_us in CLOCK_STEPS if part >= since), default=0)

    async def _set_up(self, proxy: RunningProxy, openai: ScriptedProvider, azure: ScriptedProvider) -> None:
        manage, budgets = proxy.node.manage, proxy.node.budgets
        keys = {"openai": ("plain0", "plain1", *DEAR_KEYS), "azure": ("plain2", *CHEAP_KEYS)}
        for provider_id, provider, offer in (("openai", openai, DEAR), ("azure", azure, CHEAP)):
            adapter = OpenAIAdapter(base_url=provider.base_url, models=parse_offers([offer]))
            await manage.register_provider(provider_id, adapter, actor="test")
            for name in keys[provider_id]:
                key = await manage.register_key(
                    material_of(name), provider_id, DECLARED.get(name, {}), actor="test"
                )
                proxy.key_ids[name] = key.key_id
        for scope, scope_id, terms in (
            (BudgetScope.Global, None, parse_terms("9", "hourly", "soft", alerts_percent=[20, 80])),
            (BudgetScope.PerTeam, "red", parse_terms("9", "hourly", "hard")),
            (BudgetScope.PerClient, "c3", parse_terms("3", "daily", "hard")),
            (BudgetScope.PerProvider, "openai", parse_terms("40", "monthly", "soft")),
        ):
            await budgets.open(terms, actor="test", scope=scope, scope_id=scope_id)

    async def _change_prices(self, proxy: RunningProxy, usd: int) -> None:
        prices = parse_prices({"input_usd_per_mtok": usd, "output_usd_per_mtok": 2 * usd})
        await proxy.node.prices.set_price("azure", MODEL, prices, actor="test")

    async def _manage(self, proxy: RunningProxy) -> None:
        manage = proxy.node.manage
        ids = {key.provider_id: key.key_id for key in proxy.node.state.keys.values()}
        await manage.change_key_metadata(ids["azure"], {"rpm": 200}, actor="test")
        await manage.drain_key(ids["openai"], actor="test")
        await self._change_prices(proxy, 1)

    async def _keep_read_models(self) -> None:
        """Let the read models grow with the log, as they do in use."""
        await asyncio.to_thread(self._catch_up)

    def _catch_up(self) -> None:
        with ReadModelFile(self.reports) as store:
            catch_up(SqliteReader(self.log), store)

    async def _play(
        self, proxy: RunningProxy, coming: Iterator[tuple[int, Arrival]], count: int | None
    ) -> None:
        """Send the next arrivals in their order, each at its time, and wait for their answers."""
        transport, free = HttptoolsTransport(), asyncio.Semaphore(IN_FLIGHT)
        async with asyncio.TaskGroup() as group:
            for number, arrival in coming:
                await free.acquire()
                self._clock.now_us = BEGIN_US + arrival.at_us - self._behind_us(number)
                request = request_of(proxy.base_url, number, arrival)
                group.create_task(self._ask(transport, request, free))
                count = None if count is None else count - 1
                if count == 0:
                    break
        await transport.close()

    async def _ask(
        self, transport: HttptoolsTransport, request: HttpRequest, free: asyncio.Semaphore
    ) -> None:
        try:
            response = await transport.send(request)
            await response.read(10_000_000)
            self.statuses[response.status] += 1
        finally:
            free.release()


def request_of(url: str, number: int, arrival: Arrival) -> HttpRequest:
    """Make a request of the arrival's sizes, some of them streams, in the name of one of seven clients."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "hi " * min(arrival.input_tokens, 4000)}],
        "max_tokens": min(max(arrival.output_tokens, 1), 16),
        "stream": number % 4 == 0,
    }
    caller = [
        ("content-type", "application/json"),
        ("x-akr-client", f"c{number % 7}"),
        ("x-akr-team", ("red", "green", "blue")[number % 3]),
        ("x-akr-objective", OBJECTIVES[number % 4]),
    ]
    return HttpRequest(
        method="POST",
        url=f"{url}/v1/chat/completions",
        headers=caller,
        body=json.dumps(body).encode(),
        deadlines=Deadlines(),
    )
