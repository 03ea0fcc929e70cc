"""The clients: requests whose arrivals and sizes follow real traffic, squeezed into the time of the demo."""

import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.interfaces.demo.cast import LONGEST_OUTPUT_TOKENS
from apikeyrouter.interfaces.traffic import Arrival, generate, read_trace

TIMEOUT_S = 60.0
LONGEST_PROMPT_TOKENS = 16_000
WORD = "ask "  # four bytes, which the scripted providers count as one token
# Chances in percent: most callers leave the objective to the router.
MODELS = {"swift-1": 75, "deep-1": 25}
OBJECTIVES = {"fairness": 60, "cost": 20, "latency": 20}
STREAMED = 40


class Ask(NamedTuple):
    """One request of the crowd."""

    at_s: float
    model: str
    objective: str
    stream: bool
    input_tokens: int
    output_tokens: int

    def body(self) -> dict[str, Any]:
        """Return the request in OpenAI's dialect; the prompt is as long as the trace's was."""
        prompt = WORD * min(self.input_tokens, LONGEST_PROMPT_TOKENS)
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt or WORD}],
            "max_tokens": min(max(self.output_tokens, 1), LONGEST_OUTPUT_TOKENS),
            "stream": self.stream,
        }


def asks(count: int, seconds: float, seed: int, trace: Path | None) -> list[Ask]:
    """Return the requests to be sent, from a trace or from the fitted model."""
    source = generate(seed, count) if trace is None else islice(read_trace(trace), count)
    arrivals = list(source)
    if not arrivals:
        raise InvalidRequestError(f"the trace {trace} holds no requests", param="trace")
    return list(_asked(arrivals, seconds, random.Random(f"{seed}:crowd")))  # noqa: S311 - repeatable, no secret


async def send(url: str, crowd: Iterable[Ask]) -> None:
    """Send every request at its time, and read every answer to its end."""
    loop = asyncio.get_running_loop()
    async with (
        httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, trust_env=False) as client,
        asyncio.TaskGroup() as clients,
    ):
        begun_s = loop.time()
        for ask in crowd:
            await asyncio.sleep(max(0.0, begun_s + ask.at_s - loop.time()))
            clients.create_task(_send(client, ask))


async def _send(client: httpx.AsyncClient, ask: Ask) -> None:
    headers = {} if ask.objective == "fairness" else {"x-akr-objective": ask.objective}
    async with client.stream("POST", "/v1/chat/completions", json=ask.body(), headers=headers) as answer:
        async for _ in answer.aiter_raw():
            pass


def _asked(arrivals: Sequence[Arrival], seconds: float, dice: random.Random) -> Iterator[Ask]:
    first_us, last_us = arrivals[0].at_us, arrivals[-1].at_us
    pace = seconds / max(last_us - first_us, 1)
    for arrival in arrivals:
        yield Ask(
            at_s=(arrival.at_us - first_us) * pace,
            model=_drawn(MODELS, dice),
            objective=_drawn(OBJECTIVES, dice),
            stream=dice.random() * 100 < STREAMED,
            input_tokens=arrival.input_tokens,
            output_tokens=arrival.output_tokens,
        )


def _drawn(chances: dict[str, int], dice: random.Random) -> str:
    return dice.choices(list(chances), weights=list(chances.values()))[0]
