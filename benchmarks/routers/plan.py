"""What every router is given: keys with their limits and prices, and requests with their moments.

Standard library only: a rival reads it in a virtual environment of its own.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

WORDS = "sun ice cap net dog pie jam tea hen kin bay old man sat far off"


class PlannedRequest(NamedTuple):
    """One request: when it is due after the start, and how many tokens go in and out."""

    at_s: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, kw_only=True)
class Tier:
    """What a key costs, in US dollars per million tokens."""

    name: str
    input_usd_per_mtok: float
    output_usd_per_mtok: float

    def cost_usd(self, input_tokens: int, output_tokens: int) -> float:
        """Price some tokens."""
        return (input_tokens * self.input_usd_per_mtok + output_tokens * self.output_usd_per_mtok) / 1e6


@dataclass(frozen=True, kw_only=True)
class PlannedKey:
    """One key as routers are told of it; the provider holds it to the same limits."""

    name: str
    rpm: int
    tpm: int
    tier: Tier

    @property
    def material(self) -> str:
        """What is sent as the key."""
        return f"sk-bench-{self.name}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run for one router."""

    model: str
    keys: tuple[PlannedKey, ...]
    requests: tuple[PlannedRequest, ...]
    attempts: int
    timeout_s: float
    queue_timeout_s: float
    base_url: str = ""

    @property
    def duration_s(self) -> float:
        """How long requests go on arriving."""
        return self.requests[-1].at_s if self.requests else 0.0

    def write(self, path: Path) -> None:
        """Write the plan to a file."""
        path.write_text(json.dumps(asdict(self)))


def read_plan(path: Path) -> Plan:
    """Read what `Plan.write` wrote."""
    fields = json.loads(path.read_text())
    keys = tuple(PlannedKey(**{**key, "tier": Tier(**key["tier"])}) for key in fields["keys"])
    requests = tuple(PlannedRequest(*request) for request in fields["requests"])
    return Plan(**{**fields, "keys": keys, "requests": requests})


def text_of(tokens: int, number: int) -> str:
    """Return a prompt of that many tokens, by the provider's count and about by any tokenizer's."""
    return "".join(islice(_words_from(number), tokens))


def _words_from(number: int) -> Iterator[str]:
    words = WORDS.split()
    return islice(cycle(f"{word} " for word in words), number % len(words), None)
