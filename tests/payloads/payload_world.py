"""What tests of kept bodies share: a proxy that keeps those of client acme, and a look into its files."""

import contextlib
import sqlite3

from loopback import MODEL, RUN_KEY, running_proxy, scripted

from apikeyrouter.adapters.payloads.files import payload_keys_path_beside, payloads_path_beside
from apikeyrouter.domain import holds
from apikeyrouter.domain.events import RETENTION_STREAM
from apikeyrouter.domain.holds import HoldAsked
from apikeyrouter.domain.payloads import Part
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider
from apikeyrouter.settings import RouterSettings

CLIENT = "acme"
PROMPT = "CANARY-PROMPT-what-does-my-contract-say"
ACTOR = "officer"


def question(text=PROMPT, **fields):
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}


class World:
    """A running proxy on a log in a folder, with a provider whose key `a` works."""

    def __init__(self, proxy, provider, log):
        self.proxy = proxy
        self.provider = provider
        self.log = log

    @property
    def node(self):
        return self.proxy.node

    @property
    def desk(self):
        return self.proxy.node.payloads

    async def ask(self, text=PROMPT, client=CLIENT, **fields):
        """Ask as a client, and return its answer."""
        headers = {} if client is None else {"x-akr-client": client}
        return await self.proxy.client.post(
            "/v1/chat/completions", json=question(text, **fields), headers=headers
        )

    async def call(self, method, path, body=None, status=200):
        """Call the management API, and return what it says."""
        answer = await self.proxy.client.request(
            method, f"/api/v1{path}", json=body, headers={"x-api-key": RUN_KEY}
        )
        assert answer.status_code == status, answer.text
        return answer.json()

    async def stored(self):
        """Wait until all that has ended is stored; return what is kept."""
        async with self.desk.capturing.alone():
            pass
        return list(await self.desk.reading.listed(limit=1000))

    async def events(self, kind):
        """Return the recorded events of a kind, in their order."""
        return [one for one in self.node.reader.read() if isinstance(one.event, kind)]


@contextlib.asynccontextmanager
async def a_world(folder, *, capture=True, provider=None, **settings):
    """Serve a proxy on the log of a folder; a second time on what the first one left."""
    log = folder / "router.db"
    is_new = not log.exists()
    async with contextlib.AsyncExitStack() as stack:
        if provider is None:
            provider = await stack.enter_async_context(ScriptedProvider(scripted("a")))
        given = RouterSettings(database_url=str(log), synchronous="NORMAL", seal_interval_s=0.05, **settings)
        proxy = await stack.enter_async_context(running_proxy(given))
        world = World(proxy, provider, log)
        if is_new:
            await proxy.provide(provider, "a")
            if capture:
                await world.desk.terms.switch_on(CLIENT, actor=ACTOR)
        yield world


async def hold(world, hold_id="h", **asked):
    """Place a legal hold."""
    node = world.node
    placed = holds.place(
        node.state.holds,
        HoldAsked(reason="a lawsuit", **asked),
        hold_id=hold_id,
        at_us=node.clock.now_us(),
        actor=ACTOR,
    )
    await node.journal.settled(node.journal.record_next(RETENTION_STREAM, placed))


async def release(world, hold_id="h"):
    node = world.node
    released = holds.release(
        node.state.holds, hold_id, at_us=node.clock.now_us(), actor=ACTOR, reason="settled"
    )
    await node.journal.settled(node.journal.record_next(RETENTION_STREAM, released))


def rows(log, sql="SELECT * FROM payloads"):
    """Read the file of sealed bodies with no code of ours."""
    with contextlib.closing(sqlite3.connect(payloads_path_beside(log))) as connection:
        return connection.execute(sql).fetchall()


def change(log, sql, *values):
    """Tamper with the file of sealed bodies."""
    with contextlib.closing(sqlite3.connect(payloads_path_beside(log))) as connection, connection:
        connection.execute(sql, values)


def files_of(folder):
    """Return the bytes of every file in a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


__all__ = [
    "ACTOR",
    "CLIENT",
    "PROMPT",
    "Part",
    "World",
    "a_world",
    "change",
    "files_of",
    "hold",
    "payload_keys_path_beside",
    "payloads_path_beside",
    "question",
    "release",
    "rows",
]
