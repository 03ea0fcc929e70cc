"""Rotation as people write it themselves: the next key or the least used one, over one httpx client.

Both go on to another key after 401, 403, 408, 429, 5xx or a broken connection, with the attempts that all
routers have; neither waits, neither remembers what failed, and neither looks at limits.
"""

import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager

import httpx

from benchmarks.routers.plan import Plan, PlannedKey
from benchmarks.routers.player import Ask, Call, RefusedError

ANOTHER_MAY_DO = frozenset({401, 403, 408, 429})
MINUTE_S = 60.0

Choose = Callable[[Collection[str], int], PlannedKey]


class RoundRobin:
    """One key after the other."""

    def __init__(self, keys: Sequence[PlannedKey]) -> None:
        self._turns = itertools.cycle(keys)

    def __call__(self, tried: Collection[str], _tokens: int) -> PlannedKey:
        """Return the next key that was not tried."""
        return next(key for key in self._turns if key.name not in tried)


class LeastUsed:
    """The key to which the fewest tokens were sent in the last minute."""

    def __init__(self, keys: Sequence[PlannedKey], now_s: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._now_s = now_s
        self._sent: deque[tuple[float, str, int]] = deque()
        self._tokens = {key.name: 0 for key in keys}

    def __call__(self, tried: Collection[str], tokens: int) -> PlannedKey:
        """Return the least used key that was not tried, and count what will be sent."""
        now_s = self._now_s()
        while self._sent and self._sent[0][0] <= now_s - MINUTE_S:
            _, name, spent = self._sent.popleft()
            self._tokens[name] -= spent
        untried = (key for key in self._keys if key.name not in tried)
        chosen = min(untried, key=lambda key: self._tokens[key.name])
        self._tokens[chosen.name] += tokens
        self._sent.append((now_s, chosen.name, tokens))
        return chosen


CHOICES: dict[str, Callable[[Sequence[PlannedKey]], Choose]] = {
    "round-robin": RoundRobin,
    "least-used": LeastUsed,
}


@asynccontextmanager
async def open_router(plan: Plan, name: str) -> AsyncIterator[Call]:
    """Open a client with this way of choosing."""
    choose = CHOICES[name](plan.keys)
    unbounded = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(timeout=plan.timeout_s, limits=unbounded) as client:

        async def call(ask: Ask) -> object:
            return await _with_failover(client, plan, choose, ask)

        yield call


async def _with_failover(client: httpx.AsyncClient, plan: Plan, choose: Choose, ask: Ask) -> object:
    tried: list[str] = []
    problem = "no keys"
    while len(tried) < min(plan.attempts, len(plan.keys)):
        key = choose(tried, ask.input_tokens + ask.output_tokens)
        tried.append(key.name)
        try:
            answer = await _post(client, plan, key, ask)
        except httpx.TransportError as error:
            problem = type(error).__name__
            continue
        if answer.is_success:
            return answer.json()
        problem = f"{answer.status_code} after {len(tried)} attempts"
        if answer.status_code not in ANOTHER_MAY_DO and answer.status_code < 500:
            break
    raise RefusedError(problem)


async def _post(client: httpx.AsyncClient, plan: Plan, key: PlannedKey, ask: Ask) -> httpx.Response:
    body = {"model": plan.model, "messages": ask.messages, "max_tokens": ask.output_tokens}
    headers = {"authorization": f"Bearer {key.material}"}
    return await client.post(f"{plan.base_url}/chat/completions", json=body, headers=headers)
