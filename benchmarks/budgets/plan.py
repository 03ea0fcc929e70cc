"""What every gateway is given: the same random requests, the same keys and prices, the same budgets."""

import random
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import msgspec

from apikeyrouter.application.input_allowances import allowance_for
from benchmarks.routers.plan import text_of
from benchmarks.wire import MODEL

CLIENTS = tuple(f"client-{number}" for number in range(8))
TEAMS = ("red", "blue")
RATE_PER_S = 25.0
"""Poisson arrivals, below what the slowest gateway can do: who refuses fast must not be asked more."""
LATENCY_MS = (500, 1500)
LONGEST_ANSWER = 120
"""What the provider says where it is allowed more; so some answers are shorter than their bound."""


@dataclass(frozen=True)
class Key:
    """A key of the provider, and what a million tokens cost by it, in nano-USD."""

    name: str
    provider: str
    input_price: int
    output_price: int

    @property
    def material(self) -> str:
        """What is sent as the key."""
        return f"sk-bench-{self.name}"

    def cost(self, input_tokens: int, output_tokens: int) -> int:
        """Price some tokens, rounded up as the provider does."""
        return -(-(input_tokens * self.input_price + output_tokens * self.output_price) // 1_000_000)


KEYS = (
    Key("a1", "alpha", 150_000_000, 600_000_000),
    Key("a2", "alpha", 150_000_000, 600_000_000),
    Key("b1", "beta", 110_000_000, 750_000_000),
    Key("b2", "beta", 110_000_000, 750_000_000),
)


@dataclass(frozen=True)
class Ask:
    """One request: whose it is, how long, how long its answer may be, and when it is due after the start."""

    number: int
    client: str
    input_tokens: int
    output_bound: int
    stream: bool
    due_s: float = 0.0

    @property
    def team(self) -> str:
        """The team of the client."""
        return TEAMS[CLIENTS.index(self.client) % len(TEAMS)]

    def body(self) -> dict[str, Any]:
        """Write the request; the field `user` tells the provider which one it is."""
        content = text_of(self.input_tokens, self.number)
        body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": content}]}
        body |= {"max_tokens": self.output_bound, "user": str(self.number)}
        if self.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    def tightest_bound(self, key: Key) -> int:
        """Bound the cost by the provider's own count of the input and all of the output that is allowed."""
        return key.cost(self.input_tokens, self.output_bound)

    def bound_by_bytes(self, key: Key) -> int:
        """Bound the cost by the bytes of the body, as one must who does not have the model's tokenizer."""
        return key.cost(self.input_bound, self.output_bound)

    @cached_property
    def input_bound(self) -> int:
        """How many tokens this project takes the body for."""
        body = msgspec.json.encode(self.body())
        return allowance_for("chat", body).bound(len(body))


@dataclass(frozen=True)
class HardBudget:
    """What a scope may spend in nano-USD; scopes are global, key, client and team."""

    scope: str
    name: str | None
    limit: int

    def pays(self, ask: Ask, key: Key) -> bool:
        """Tell whether a request by this key is paid from it."""
        of_scope = {"global": None, "key": key.name, "client": ask.client, "team": ask.team}
        return of_scope[self.scope] == self.name


@dataclass(frozen=True)
class Load:
    """A scenario: requests, and the budgets that they overrun."""

    scenario: str
    told: str
    asks: tuple[Ask, ...]
    budgets: tuple[HardBudget, ...]

    def limit_of(self, scope: str, name: str | None) -> int | None:
        """Return the limit of one budget in nano-USD, None where there is none."""
        return next((each.limit for each in self.budgets if (each.scope, each.name) == (scope, name)), None)


def loads(requests: int, seed: int) -> tuple[Load, ...]:
    """Draw both scenarios: budgets of callers, and budgets of what serves them."""
    dice = random.Random(seed)
    due_s = accumulate(dice.expovariate(RATE_PER_S) for _ in range(requests))
    asks = tuple(_ask(dice, number, due) for number, due in enumerate(due_s))
    everything = sum(KEYS[0].cost(ask.input_tokens, min(ask.output_bound, LONGEST_ANSWER)) for ask in asks)
    clients = [HardBudget("client", name, _share(dice, everything, 1 / 14)) for name in CLIENTS]
    teams = [HardBudget("team", name, _share(dice, everything, 1 / 4)) for name in TEAMS]
    keys = [HardBudget("key", key.name, _share(dice, everything, 1 / 7)) for key in KEYS]
    return (
        Load("callers", "a budget for each client and each team", asks, (*clients, *teams)),
        Load(
            "deployments",
            "a budget for all and one for each key",
            asks,
            (HardBudget("global", None, _share(dice, everything, 1 / 2)), *keys),
        ),
    )


def _ask(dice: random.Random, number: int, due_s: float) -> Ask:
    tokens, bound = dice.randint(20, 300), dice.randint(20, 200)
    return Ask(number, dice.choice(CLIENTS), tokens, bound, dice.random() < 0.3, due_s)


def _share(dice: random.Random, everything: int, share: float) -> int:
    return int(everything * share * dice.uniform(0.8, 1.2))
