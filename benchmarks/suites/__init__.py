"""The suites, one module each; every one has `run(options)`."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line chose."""

    quick: bool = False
    rounds: int = 3
    gateways: tuple[str, ...] = ()
    soak_requests: int = 100_000
    soak_within_s: float = 120
    slices: int = 1
    trace: str | None = None
    routers: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    as_json: bool = False
