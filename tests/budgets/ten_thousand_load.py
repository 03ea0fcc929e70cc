"""A crowd of random requests before a proxy that is killed and comes back, and what became of each."""

import asyncio
import json
import os
import random
import socket
import ssl
import sys
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import httpx
import msgspec
from loopback import material_of

from apikeyrouter import ApiKeyRouter, RouterSettings
from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.domain.events import ModelOffer
from apikeyrouter.interfaces.scripted_provider import (
    Fault,
    FaultKind,
    KeyScript,
    Script,
    ScriptedModel,
    ScriptedProvider,
)

PROGRAM = str(Path(sys.executable).with_name("apikeyrouter"))
AT_ONCE = 64
NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""One for all clients: reading the machine's certificates for each would take longer than the requests."""
START_WITHIN_S = 30
CLIENTS, TEAMS, TAGS = ("ann", "ben", "cem", "dua"), ("red", "blue"), ("nightly", "trial", "demo")
EMBEDDINGS = "embed"
PRICES = {
    "alpha": {
        "small": (150_000_007, 600_000_011),
        "large": (2_500_000_003, 9_999_999_967),
        "embed": (20_000_003, 0),
    },
    "beta": {
        "small": (90_000_049, 750_000_013),
        "large": (1_700_000_009, 11_000_000_003),
        "embed": (30_000_011, 0),
    },
}
"""Nano-USD for a million tokens, odd on purpose: sums that are only nearly right come out wrong."""
MOST_OUTPUT = {("beta", "large"): 300}
"""What a model can say at most where nobody bounds the answer; the others have no such limit."""


def scripts() -> dict[str, Script]:
    """Script both providers: keys that are well, slow, failing, hanging, cutting off and silent on usage."""

    def key(name: str, *faults: Fault, **behaviour) -> KeyScript:
        behaviour = {"latency_ms": (0, 15), "output_tokens": 48, **behaviour}
        return KeyScript(key=material_of(name), faults=faults, **behaviour)

    def now_and_then(kind: FaultKind, probability: float, **told) -> Fault:
        return Fault(kind=kind, probability=probability, **told)

    failing = now_and_then(FaultKind.Status, 0.04, status=500)
    limited = now_and_then(FaultKind.Status, 0.02, status=429, retry_after="0")
    alpha = {
        "well": key("well"),
        "failing": key("failing", failing, limited),
        "cutting": key(
            "cutting", now_and_then(FaultKind.CutMidStream, 0.03), now_and_then(FaultKind.TruncatedJson, 0.02)
        ),
    }
    beta = {
        "slow": key("slow", latency_ms=(5, 60), token_ms=0.5),
        "hanging": key("hanging", now_and_then(FaultKind.HangBeforeHeaders, 0.01)),
        "silent": key("silent", now_and_then(FaultKind.UsageMissing, 0.1), token_ms=0.2, tokens_per_event=4),
    }
    return {
        name: Script(keys=keys, models=_models(name), seed=7, remembered_calls=1_000_000)
        for name, keys in (("alpha", alpha), ("beta", beta))
    }


def _models(provider_id: str) -> dict[str, ScriptedModel]:
    return {
        model: ScriptedModel(input_nano_usd_per_mtok=prices[0], output_nano_usd_per_mtok=prices[1])
        for model, prices in PRICES[provider_id].items()
    }


def offers(provider_id: str) -> tuple[ModelOffer, ...]:
    """Return the same models and prices as the router is told of them."""
    return tuple(
        msgspec.structs.replace(model.offer(name), max_output_tokens=MOST_OUTPUT.get((provider_id, name)))
        for name, model in _models(provider_id).items()
    )


@dataclass(frozen=True)
class Wanted:
    """One request: its body and headers, and after how long its client loses patience."""

    name: str
    path: str
    body: dict
    headers: dict[str, str]
    patience_s: float = 30.0

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))


@dataclass
class Outcome:
    """What a client saw. Status 0: the connection broke; it knows nothing then."""

    name: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    code: str | None = None


def random_request(dice: random.Random, number: int) -> Wanted:
    """Draw a request: any size, whole or streamed, from anybody."""
    name = f"r{number:06}"
    headers = {"x-correlation-id": name, "x-akr-objective": dice.choice(("cost", "fairness", "reliability"))}
    if dice.random() < 0.8:
        headers["x-akr-client"] = dice.choice(CLIENTS)
    if dice.random() < 0.6:
        headers["x-akr-team"] = dice.choice(TEAMS)
    if tags := dice.sample(TAGS, dice.choice((0, 0, 1, 2))):
        headers["x-akr-tags"] = ",".join(tags)
    text = "ab c" * dice.randint(1, 400)
    if dice.random() < 0.08:
        return Wanted(
            name, "/v1/embeddings", {"model": EMBEDDINGS, "user": name, "input": text}, headers, False
        )
    body = {"model": dice.choice(("small", "small", "large")), "user": name}
    body["messages"] = [{"role": "user", "content": text}]
    if dice.random() < 0.95:
        body[dice.choice(("max_tokens", "max_completion_tokens"))] = dice.randint(1, 90)
    if dice.random() < 0.1:
        body["n"] = 2
    if dice.random() < 0.3:
        body["stream"] = True
        if dice.random() < 0.5:
            body["stream_options"] = {"include_usage": True}
    patience_s = dice.uniform(0.002, 0.08) if dice.random() < 0.05 else 30.0
    return Wanted(name, "/v1/chat/completions", body, headers, patience_s)


async def furnish(
    database: Path, providers: dict[str, ScriptedProvider], dice: random.Random, requests: int
) -> dict[str, str]:
    """Register both providers, open budgets that overlap and do not suffice; return the keys' names by id."""
    names = {}
    async with ApiKeyRouter(config=RouterSettings(database_url=str(database))) as router:
        places = [("global", None), *(("provider", name) for name in providers), ("model", "large")]
        places += [("model", "small"), ("route", "chat"), ("route", "embeddings")]
        places += [("client", name) for name in CLIENTS] + [("team", name) for name in TEAMS]
        places += [("tag", name) for name in TAGS]
        for provider_id, provider in providers.items():
            adapter = OpenAIAdapter(base_url=provider.base_url, models=offers(provider_id))
            await router.register_provider(provider_id, adapter)
            for name in scripts()[provider_id].keys:
                key = await router.register_key(material_of(name), provider_id)
                places.append(("key", key.id))
                names[key.id] = name
        for scope, scope_id in places:
            await _open_budgets(router, dice, scope, scope_id, requests)
    return names


SHARES = {
    "global": 0.6,
    "provider": 0.35,
    "model": 0.4,
    "route": 0.6,
    "client": 0.12,
    "team": 0.2,
    "tag": 0.12,
    "key": 0.12,
}
"""Which part of everything that is asked for each scope may pay, about."""
MEAN_COST_USD = Decimal("0.00035")


async def _open_budgets(
    router: ApiKeyRouter, dice: random.Random, scope: str, scope_id: str | None, requests: int
) -> None:
    if scope_id == "embeddings":
        requests //= 100
    everything = MEAN_COST_USD * requests
    share = Decimal(SHARES[scope] * dice.uniform(0.5, 1.2)).quantize(Decimal("0.000001"))
    windows = [{"period": "total"}, {"period": "daily"}, {"period": "daily", "timezone": "Asia/Kathmandu"}]
    windows.append({"period": "hourly", "rolling": True})
    rolling = {"period": "custom", "rolling": True, "seconds": dice.randint(1, 4)}
    await router.cost_controller.create_budget(
        scope,
        limit=(everything * share).quantize(Decimal("0.000000001")),
        scope_id=scope_id,
        **dice.choice(windows),
    )
    if dice.random() < 0.6:
        limit = (everything * share / 6).quantize(Decimal("0.000000001"))
        await router.cost_controller.create_budget(scope, limit=limit, scope_id=scope_id, **rolling)
    if dice.random() < 0.15:
        await router.cost_controller.create_budget(
            scope, limit=limit_of_soft(everything), period="total", enforcement_mode="soft", scope_id=scope_id
        )


def limit_of_soft(everything: Decimal) -> Decimal:
    """Return a limit that is passed soon, by a budget that only tells so."""
    return (everything / 50).quantize(Decimal("0.000000001"))


class MortalServer:
    """`apikeyrouter serve` on one file and one port; killed without warning, and started again."""

    def __init__(self, database: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.alive = asyncio.Event()
        self.deaths = 0
        self._command = [PROGRAM, "serve", "--port", str(port), "--database", str(database), "--json"]
        self._words = database.with_suffix(".stderr")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it says that it serves."""
        settings = {"FIRST_BYTE_TIMEOUT_S": "1.0", "LOG_LEVEL": "critical", "DURABILITY": "strict"}
        env = os.environ | {f"APIKEYROUTER_{name}": value for name, value in settings.items()}
        with self._words.open("ab") as words:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdout=asyncio.subprocess.PIPE, stderr=words, env=env
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_WITHIN_S):
            line = await self._process.stdout.readline()
        assert line, self._words.read_text()
        self.alive.set()

    async def kill(self) -> None:
        """End it by SIGKILL, with whatever it was doing."""
        if self._process is not None and self._process.returncode is None:
            self.alive.clear()
            self._process.kill()
            assert await self._process.wait() == -9
            self.deaths += 1


class Crowd:
    """So many tasks that ask, one request after the other, and a death at each of some moments."""

    def __init__(self, server: MortalServer, wanted: list[Wanted], deaths: list[int]) -> None:
        self.outcomes: list[Outcome] = []
        self._server = server
        self._wanted = iter(wanted)
        self._deaths = sorted(deaths, reverse=True)

    async def run(self) -> list[Outcome]:
        """Ask everything; return what became of each."""
        dying = asyncio.create_task(self._die())
        try:
            await asyncio.gather(*(self._ask_on() for _ in range(AT_ONCE)))
        finally:
            dying.cancel()
            await asyncio.gather(dying, return_exceptions=True)
        return self.outcomes

    async def _die(self) -> None:
        while self._deaths:
            if len(self.outcomes) >= self._deaths[-1]:
                self._deaths.pop()
                await self._server.kill()
                await self._server.start()
            await asyncio.sleep(0.001)

    async def _ask_on(self) -> None:
        # A client of its own: a pool of 64 connections looks at each of them for every request.
        async with httpx.AsyncClient(timeout=30, trust_env=False, verify=NO_TRUST) as client:
            for wanted in self._wanted:
                await self._server.alive.wait()
                outcome = Outcome(wanted.name)
                try:
                    await _ask(client, self._server.url + wanted.path, wanted, outcome)
                except (httpx.TransportError, TimeoutError):
                    outcome.status = 0
                self.outcomes.append(outcome)


async def _ask(client: httpx.AsyncClient, url: str, wanted: Wanted, outcome: Outcome) -> None:
    content = json.dumps(wanted.body, separators=(",", ":"))
    headers = {**wanted.headers, "content-type": "application/json"}
    async with asyncio.timeout(wanted.patience_s):
        async with client.stream("POST", url, content=content, headers=headers) as answer:
            read = await answer.aread()
    _note(outcome, answer, read)
    if wanted.stream and answer.status_code == 200 and not read.rstrip().endswith(b"data: [DONE]"):
        outcome.status = 0  # it broke midway: nothing was acknowledged


def _note(outcome: Outcome, answer: httpx.Response, content: bytes) -> None:
    outcome.status, outcome.headers = answer.status_code, dict(answer.headers)
    if answer.status_code != 200:
        outcome.code = json.loads(content)["error"]["code"]


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
