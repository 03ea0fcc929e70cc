"""Make a plan from arrivals: cut a slice of traffic, and size the keys so that it nearly fills them."""

from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path

from apikeyrouter.interfaces.traffic import Arrival, generate, read_trace
from benchmarks.routers.plan import Plan, PlannedKey, PlannedRequest, Tier

LOAD = 0.9
SHARES = (0.04, 0.05, 0.06, 0.08, 0.08, 0.10, 0.11, 0.13, 0.16, 0.19)
TILT = 0.05
TIERS = (
    Tier(name="economy", input_usd_per_mtok=0.15, output_usd_per_mtok=0.60),
    Tier(name="standard", input_usd_per_mtok=0.30, output_usd_per_mtok=1.20),
)
MODEL = "bench-chat"
ATTEMPTS = 5
TIMEOUT_S = 60.0
QUEUE_TIMEOUT_S = 30.0
MODEL_SEED = 1
MOST_GENERATED = 1_000_000
NEIGHBOUR = Path(__file__).parents[3] / "shared" / "traces"


def found_trace() -> Path | None:
    """Return a trace from the folder beside the project, if there is one."""
    return next(iter(sorted(NEIGHBOUR.glob("*.csv"))), None)


def traffic(trace: Path | None) -> Iterator[Arrival]:
    """Yield arrivals in order of time: of a trace, or of the model that was fitted to one."""
    if trace is None:
        return generate(MODEL_SEED, MOST_GENERATED)
    return iter(sorted(read_trace(trace)))


def cut(arrivals: Iterable[Arrival], start_s: float, seconds: float) -> tuple[PlannedRequest, ...]:
    """Return the requests of a slice; moments count from its beginning."""
    ordered = iter(arrivals)
    first = next(ordered, None)
    if first is None:
        return ()
    begin_us = first.at_us + round(start_s * 1e6)
    end_us = begin_us + round(seconds * 1e6)
    before_end = takewhile(lambda arrival: arrival.at_us < end_us, _behind(first, ordered))
    return tuple(
        # A provider has no name for an empty prompt or an answer of no tokens.
        PlannedRequest((one.at_us - begin_us) / 1e6, max(1, one.input_tokens), max(1, one.output_tokens))
        for one in before_end
        if one.at_us >= begin_us
    )


def _behind(first: Arrival, others: Iterable[Arrival]) -> Iterator[Arrival]:
    yield first
    yield from others


def keys_for(requests: tuple[PlannedRequest, ...], seconds: float) -> tuple[PlannedKey, ...]:
    """Size keys whose limits together are the offered load through `LOAD`, in requests and in tokens.

    Every second key has more of its share in requests, the others in tokens, as accounts differ.
    """
    minutes = seconds / 60
    rpm = len(requests) / minutes / LOAD
    tpm = sum(one.input_tokens + one.output_tokens for one in requests) / minutes / LOAD
    leaning = [TILT if place % 2 else -TILT for place in range(len(SHARES))]
    rpms = _split(rpm, [share * (1 + lean) for share, lean in zip(SHARES, leaning, strict=True)])
    tpms = _split(tpm, [share * (1 - lean) for share, lean in zip(SHARES, leaning, strict=True)])
    return tuple(
        PlannedKey(name=f"k{place}", rpm=key_rpm, tpm=key_tpm, tier=TIERS[place // 2 % 2])
        for place, (key_rpm, key_tpm) in enumerate(zip(rpms, tpms, strict=True))
    )


def _split(whole: float, weights: list[float]) -> list[int]:
    total = sum(weights)
    return [max(1, round(whole * weight / total)) for weight in weights]


def make_plan(trace: Path | None, start_s: float, seconds: float) -> Plan:
    """Make the plan of a slice of traffic."""
    requests = cut(traffic(trace), start_s, seconds)
    if not requests:
        raise ValueError(f"no requests between {start_s:.0f} s and {start_s + seconds:.0f} s of the traffic")
    return Plan(
        model=MODEL,
        keys=keys_for(requests, seconds),
        requests=requests,
        attempts=ATTEMPTS,
        timeout_s=TIMEOUT_S,
        queue_timeout_s=QUEUE_TIMEOUT_S,
    )
