"""What tests of quotas share: a wall clock set by hand, a bare node, and an audit of the log alone."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import msgspec
from loopback import MODEL, eventually, material_of

from apikeyrouter.adapters.ambient import SystemClock
from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.application.intake import Wish, order
from apikeyrouter.application.passage import Order
from apikeyrouter.application.replay import verify
from apikeyrouter.bootstrap import Node, open_node
from apikeyrouter.domain.accounts import AccountReport
from apikeyrouter.domain.events import (
    AttemptFailed,
    Event,
    KeyMetadataChanged,
    QuotaCorrected,
    QuotaLimitLearned,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteRefused,
)
from apikeyrouter.domain.models.system_error import SystemError  # noqa: A004 - the published name
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.state import RouterState
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider
from apikeyrouter.settings import RouterSettings

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
NOON_US = 1_780_056_000 * SECOND_US
ENDS = RequestCompleted | RequestFailed | RequestCancelled | RequestReleased | RouteRefused
SINKING = (QuotaLimitLearned, QuotaCorrected, KeyMetadataChanged)


class WallClock:
    """The time of day of every node in this process, as the test says; durations stay real."""

    def __init__(self, monkeypatch, now_us: int = NOON_US) -> None:
        self.now_us = now_us
        monkeypatch.setattr(SystemClock, "now_us", lambda _clock: self.now_us)

    def pass_us(self, passed_us: int) -> None:
        self.now_us += passed_us


@contextlib.asynccontextmanager
async def running_node(settings: RouterSettings | None = None) -> AsyncIterator[Node]:
    """Open a node without a server before it."""
    node = await open_node(settings or RouterSettings())
    try:
        yield node
    finally:
        await node.close()


async def provide(node: Node, provider: ScriptedProvider, provider_id: str = "openai", **keys: dict) -> list:
    """Register a scripted provider and keys of it by name, each with its metadata; return their ids."""
    if provider_id not in node.state.providers:
        adapter = OpenAIAdapter(base_url=provider.base_url)
        await node.manage.register_provider(provider_id, adapter, actor="test")
    registered = [
        await node.manage.register_key(material_of(name), provider_id, metadata, actor="test")
        for name, metadata in keys.items()
    ]
    return [key.key_id for key in registered]


def asking(
    client_id: str | None = None, *, model: str = MODEL, stream: bool = False, tokens: int = 8, pad: int = 0
) -> Order:
    """Order a chat of a known size as an interface would, in the name of a client."""
    fields = {
        "model": model,
        "messages": [{"role": "user", "content": "x" * (pad + 1)}],
        "max_tokens": tokens,
    }
    if stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    wish = Wish(operation="chat", model=model, stream=stream, output_tokens_bound=tokens)
    made = order(wish, policy_of(None), msgspec.json.encode(fields))
    return msgspec.structs.replace(made, facts=msgspec.structs.replace(made.facts, client_id=client_id))


async def ask(node: Node, wanted: Order | None = None) -> int:
    """Serve an order whole or as a stream; return the status that a client would see."""
    wanted = wanted or asking()
    try:
        if wanted.facts.stream:
            await read_stream(node, wanted)
        else:
            await node.route.execute(wanted)
    except SystemError as error:
        return error.http_status
    return 200


async def read_stream(node: Node, wanted: Order, *, chunks: int | None = None) -> int:
    """Read a stream, whole or its first chunks, and leave; return how many bytes came."""
    _, stream = await node.route.open_stream(wanted)
    read = 0
    try:
        async for chunk in stream:
            read += len(chunk)
            chunks = None if chunks is None else chunks - 1
            if chunks == 0:
                break
    finally:
        stream.close()
    return read


async def ask_all(node: Node, count: int, at_once: int = 64, wanted: Order | None = None) -> Counter:
    """Ask so many times by so many tasks; count what came out."""
    left, statuses = iter(range(count)), Counter()

    async def client() -> None:
        for _ in left:
            statuses[await ask(node, wanted)] += 1

    await asyncio.gather(*(client() for _ in range(at_once)))
    return statuses


def calls(provider: ScriptedProvider, name: str | None = None) -> int:
    """Return how many calls the provider has seen, by one key or in all."""
    tallies = provider.ledger(0).keys
    return sum(tally.calls for key, tally in tallies.items() if name in {None, key})


async def held(provider: ScriptedProvider, name: str, count: int) -> None:
    """Wait until so many calls are held at the provider."""
    await eventually(lambda: provider.ledger(0).keys[name].held == count)


def account(node: Node, account_id: str) -> AccountReport:
    """Return an account as it stands now."""
    accounts = node.state.quotas.accounts
    row = accounts.row_of(account_id)
    assert row is not None, account_id
    return accounts.report(row, node.clock.now_us())


def story(node: Node, *kinds: type[Event]) -> list:
    """Return the events of some kinds in the order of the log."""
    return [recorded.event for recorded in node.reader.read() if isinstance(recorded.event, kinds)]


async def in_good_order(node: Node) -> None:
    """The log alone proves that no limit was passed, and every decision comes out again."""
    await eventually(lambda: len(list(node.reader.read())) == node.state.position)
    events = list(node.reader.read())
    audit = audited(events)
    assert not audit.faults, audit.faults[:10]
    assert not audit.open_holdings
    assert not node.state.open_requests
    result = verify(events)
    assert result.identical, result.differences
    assert result.decisions


@dataclass
class Audit:
    """What an auditor who has nothing but the log finds wrong with it, and how much was looked at."""

    positions: int = 0
    checked: int = 0
    faults: list[str] = field(default_factory=list)
    open_holdings: dict[str, int] = field(default_factory=dict)


def audited(events: Iterable[Recorded]) -> Audit:
    """Fold a log event by event, and look after each whether the books balance."""
    audit, state, excused = Audit(), RouterState(), set()
    for recorded in events:
        _follow_reservation(audit, recorded)
        state.evolve(*recorded)
        _check_books(audit, state, excused, recorded.position, may_sink=isinstance(recorded.event, SINKING))
        audit.positions += 1
    return audit


def _follow_reservation(audit: Audit, recorded: Recorded) -> None:
    """Every decision that reserved something is ended by exactly one event, in its own stream."""
    stream, event = recorded.stream, recorded.event
    if isinstance(event, RouteDecided):
        if stream in audit.open_holdings:
            audit.faults.append(f"{recorded.position}: {stream} reserves again while it holds")
        audit.open_holdings[stream] = recorded.version
    elif isinstance(event, AttemptFailed | ENDS):
        is_held = audit.open_holdings.pop(stream, None) is not None
        if is_held != _ends_a_call(event) and not _may_come_either_way(event):
            audit.faults.append(
                f"{recorded.position}: {stream} ends a call it has not made, or the other way"
            )


def _ends_a_call(event: Event) -> bool:
    return not isinstance(event, RouteRefused)


def _may_come_either_way(event: Event) -> bool:
    """Some ends come for calls under way as well as between two of them, or in the queue."""
    return isinstance(event, RequestFailed | RequestReleased)


def _check_books(
    audit: Audit, state: RouterState, excused: set[int], position: int, *, may_sink: bool
) -> None:
    accounts = state.quotas.accounts
    on_hold: Counter[int] = Counter()
    for request in state.open_requests.values():
        for entry in request.share.holding.entries if request.share is not None else ():
            in_window = entry.generation == accounts._accounts[entry.row].generation
            if in_window and entry.is_held and entry.ends_us > accounts.now_us:
                on_hold[entry.row] += entry.amount
    for row in range(accounts.count):
        limit, used, reserved = int(accounts.limit[row]), accounts.used_now(row), int(accounts.reserved[row])
        audit.checked += 1
        if used <= limit:
            excused.discard(row)
        elif may_sink:
            excused.add(row)
        elif row not in excused:
            audit.faults.append(f"{position}: {_name(state, row)} {used} used of {limit}")
        fills_up = accounts.limit_of(row).window.kind == "bucket"  # also while calls hold a part of it
        if reserved < 0 or (reserved > used and not fills_up):
            audit.faults.append(f"{position}: {_name(state, row)} {reserved} reserved of {used} used")
        if reserved != on_hold[row]:
            found = f"{reserved} reserved, {on_hold[row]} held by open requests"
            audit.faults.append(f"{position}: {_name(state, row)} {found}")


def _name(state: RouterState, row: int) -> str:
    return state.quotas.accounts.limit_of(row).account_id
