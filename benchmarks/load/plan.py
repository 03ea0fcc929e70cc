"""What the load generator is asked, and what it answers."""

from typing import Literal

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of load against one address.

    Closed loop: `connections` clients, each sending its next request when it has its last answer.
    Open loop: Poisson arrivals at `rate_per_s`, drawn from `seed`, whatever the answers do.
    A phase ends after `seconds`, or after `requests` where that is given and comes first.
    """

    mode: Literal["closed", "open"]
    port: int
    body: str
    stream: bool = False
    path: str = "/v1/chat/completions"
    headers: dict[str, str] = {}
    seconds: float
    connections: int = 64
    requests: int | None = None
    rate_per_s: float = 100.0
    seed: int = 1
    grace_s: float = 30.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a phase saw. In the open loop, latencies count from when a request was due, not sent."""

    completed: int
    failed: int
    unfinished: int
    elapsed_s: float
    per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    first_byte_p50_ms: float
    first_failure: str | None = None
