"""The composition root: settings become adapters, adapters become a node."""

import asyncio
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from apikeyrouter.adapters.alerts.opening import Alerts, open_alerts
from apikeyrouter.adapters.ambient import SystemClock, SystemEntropy
from apikeyrouter.adapters.eventlog.connections import PAGE_BYTES
from apikeyrouter.adapters.eventlog.memory_log import MemoryLog
from apikeyrouter.adapters.eventlog.sqlite_log import SqliteLog
from apikeyrouter.adapters.payloads.opening import open_payloads
from apikeyrouter.adapters.prices.genai_book import packaged_book
from apikeyrouter.adapters.proof.opening import Sealing, open_sealing
from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.adapters.providers.transport import Deadlines
from apikeyrouter.adapters.retention.opening import forgetting_reports, open_shelf, whole_log
from apikeyrouter.adapters.snapshots.opening import open_snapshots
from apikeyrouter.adapters.telemetry.metrics import Metrics
from apikeyrouter.adapters.tokens import count_tokens
from apikeyrouter.adapters.vault import Listener, SealedVault
from apikeyrouter.application.budgets import Budgeting
from apikeyrouter.application.durability import Durability
from apikeyrouter.application.journal import Journal
from apikeyrouter.application.manage import Manage
from apikeyrouter.application.notices import notices
from apikeyrouter.application.payloads.capturing import Bounds, Capturing
from apikeyrouter.application.payloads.desk import PayloadDesk, payload_desk
from apikeyrouter.application.ports import Clock, EventFinder, Vault
from apikeyrouter.application.price_books import PriceBooks
from apikeyrouter.application.proof.condemning import condemning
from apikeyrouter.application.proof.ports import CondemnableLog
from apikeyrouter.application.proof.standing import SealStanding
from apikeyrouter.application.providers import ProviderRegistry
from apikeyrouter.application.recover import start_node, stop_node
from apikeyrouter.application.retention.dropping import Dropping
from apikeyrouter.application.retention.retaining import Retaining
from apikeyrouter.application.route_request import RouteRequest
from apikeyrouter.application.snapshots.ports import Snapshots
from apikeyrouter.application.snapshots.taking import SnapshotTaker
from apikeyrouter.domain.events import ModelOffer
from apikeyrouter.domain.interfaces.provider_adapter import ProviderAdapter
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.offers import parse_offers
from apikeyrouter.domain.state import RouterState
from apikeyrouter.domain.windows import SECOND_US
from apikeyrouter.settings import RouterSettings

VERSION = version("apikeyrouter-core")


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One process with one event loop: the use cases, wired to their adapters."""

    node_id: str
    settings: RouterSettings
    journal: Journal
    reader: EventFinder
    route: RouteRequest
    manage: Manage
    prices: PriceBooks
    budgets: Budgeting
    providers: ProviderRegistry
    vault: Vault
    clock: Clock
    metrics: Metrics
    alerts: Alerts
    payloads: PayloadDesk
    sealing: Sealing | None
    retaining: Retaining
    snapshots: Snapshots
    taker: SnapshotTaker

    @property
    def state(self) -> RouterState:
        """The state as of now; ask anew after every await."""
        return self.journal.state

    @property
    def ready(self) -> bool:
        """True while the log can be written."""
        return self.journal.ready

    def seals(self) -> SealStanding | None:
        """Tell how the seals of the log stand; None for a log in memory, which has none."""
        return None if self.sealing is None else self.sealing.standing(self.state.position)

    def summary(self) -> dict[str, Any]:
        """Count what there is, and tell the position that the state stands at."""
        state = self.state
        by_state: dict[str, int] = {}
        for key in state.keys.values():
            by_state[key.state] = by_state.get(key.state, 0) + 1
        return {
            "position": state.position,
            "keys": by_state,
            "providers": sorted(state.providers),
            "open_requests": len(state.open_requests),
            "version": VERSION,
        }

    async def close(self) -> None:
        """End in good order: who waits, calls, log, vault."""
        self.route.close()
        await self.retaining.dropping.close()
        await self.providers.close()
        await self.payloads.close()
        if self.ready:
            await stop_node(self.journal, self.clock, self.node_id)
        await self.alerts.close()
        await self.journal.close()
        await self.taker.close()
        if self.sealing is not None:
            await self.sealing.close()
        self.vault.close()


async def open_node(settings: RouterSettings, *, heard: Listener | None = None) -> Node:
    """Open log and vault, fold the state, close what a dead process left open, and wire the use cases.

    `heard` is told every key's material that enters this process's memory, so that log lines can mask it.
    """
    log = _open_log(settings)
    sealing = None
    try:
        sealing = await asyncio.to_thread(open_sealing, settings)
        return await _wire(settings, log, sealing, heard)
    except BaseException:
        await log.close()
        if sealing is not None:
            await sealing.close()
        raise


async def _wire(
    settings: RouterSettings, log: CondemnableLog, sealing: Sealing | None, heard: Listener | None
) -> Node:
    clock, entropy = SystemClock(), SystemEntropy()
    node_id = entropy.new_id()
    metrics = Metrics()
    vault = SealedVault.open(settings, heard=heard)
    snapshots = await asyncio.to_thread(open_snapshots, settings)
    past, waited = whole_log(settings, log), metrics.observe_append
    journal = Journal(log, clock, node_id, waited=waited, snapshots=snapshots, past=past)
    await journal.open()
    taker = SnapshotTaker(journal, snapshots)
    taker.start()
    metrics.follow(await asyncio.to_thread(journal.history_of_keys))
    log.follow(metrics.follow)
    providers = ProviderRegistry()
    _attach_known(providers, journal.state, settings)
    manage = Manage(journal=journal, providers=providers, vault=vault, clock=clock, entropy=entropy)
    store = open_payloads(settings)
    capturing = Capturing(
        journal=journal, clock=clock, store=store, bounds=Bounds(part_bytes=settings.capture_bytes)
    )
    route = RouteRequest(
        journal=journal,
        providers=providers,
        vault=vault,
        clock=clock,
        entropy=entropy,
        durability=Durability(settings.durability),
        max_attempts=settings.max_attempts,
        timeout_us=int(settings.request_timeout_s * SECOND_US),
        queue_timeout_us=int(settings.queue_timeout_s * SECOND_US),
        count=count_tokens,
        capture=capturing,
    )
    released = await start_node(journal, clock, node_id, VERSION)
    if sealing is not None:
        await asyncio.to_thread(sealing.start, log, clock, condemning(log, journal))
    _reconcile_vault(manage)
    payloads = payload_desk(
        journal=journal, reader=log, clock=clock, entropy=entropy, capturing=capturing, store=store
    )
    prices = PriceBooks(journal=journal, clock=clock, packaged=packaged_book)
    await prices.adopt_at_first_start()
    await payloads.start()
    if released:
        notices().warning("open_requests_released", count=released)
    shelf, gone = open_shelf(settings, log), forgetting_reports(settings)
    dropping = Dropping(journal=journal, clock=clock, shelf=shelf, snapshots=snapshots, gone=gone)
    dropping.finish()
    return Node(
        node_id=node_id,
        settings=settings,
        journal=journal,
        reader=log,
        route=route,
        manage=manage,
        prices=prices,
        budgets=Budgeting(journal=journal, clock=clock, entropy=entropy),
        providers=providers,
        vault=vault,
        clock=clock,
        metrics=metrics,
        alerts=await open_alerts(settings, journal),
        payloads=payloads,
        sealing=sealing,
        retaining=Retaining(journal=journal, clock=clock, entropy=entropy, dropping=dropping),
        snapshots=snapshots,
        taker=taker,
    )


def adapter_for(
    kind: str,
    base_url: str | None,
    models: Sequence[str | ModelOffer | Mapping[str, Any]],
    settings: RouterSettings,
) -> ProviderAdapter:
    """Build an adapter of a built-in kind."""
    if kind != "openai":
        raise InvalidRequestError(f"unknown kind of provider {kind[:40]!r}; built in: openai", param="kind")
    deadlines = Deadlines(
        connect_s=settings.connect_timeout_s,
        first_byte_s=settings.first_byte_timeout_s,
        idle_s=settings.idle_timeout_s,
        total_s=settings.request_timeout_s,
    )
    return OpenAIAdapter(base_url=base_url, models=parse_offers(models), deadlines=deadlines)


def _attach_known(providers: ProviderRegistry, state: RouterState, settings: RouterSettings) -> None:
    """Attach built-in adapters to the providers that the log knows; users attach their own."""
    for provider in state.providers.values():
        if provider.kind == "openai":
            offers = tuple(provider.models.values())
            adapter = adapter_for("openai", provider.base_url, offers, settings)
            providers.attach(provider.provider_id, adapter, provisional=True)


def _reconcile_vault(manage: Manage) -> None:
    """Destroy what no key owns; tell of keys that have nothing, before requests make them look rejected."""
    manage.destroy_orphans()
    missing = manage.keys_without_material()
    if missing:
        notices().error(
            "key_material_missing",
            count=len(missing),
            hint="stop and bring the vault file back, or rotate these keys; see `apikeyrouter doctor`",
        )


def _open_log(settings: RouterSettings) -> CondemnableLog:
    path = settings.database_path
    if path is None:
        notices().warning(
            "log_in_memory", hint="set APIKEYROUTER_DATABASE_URL or pass a path to keep history"
        )
        return MemoryLog()
    most = settings.max_log_bytes
    max_pages = None if most is None else most // PAGE_BYTES
    return SqliteLog(path, synchronous=settings.synchronous, max_pages=max_pages)
