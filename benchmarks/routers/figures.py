"""What a run says of a router: what its clients saw, what it cost, how evenly it used the keys."""

import json
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from apikeyrouter.interfaces.scripted_provider import KeyTally
from benchmarks.report import quantile
from benchmarks.routers.plan import Plan, PlannedKey
from benchmarks.routers.scenarios import nominal_s


@dataclass(frozen=True, kw_only=True)
class Played:
    """What a router's process left: what became of each request, and the CPU time that it took."""

    outcomes: tuple[dict[str, Any], ...]
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One router in one scenario. Waits are of answered requests, beyond what a key in good health takes."""

    requests: int
    failed: int
    failures: dict[str, int]
    upstream_calls: int
    upstream_429: int
    upstream_401: int
    waited_mean_s: float
    waited_p50_s: float
    waited_p99_s: float
    fullest_to_mean: float
    jain: float
    usd_per_1000: float
    cpu_s: float
    late_p99_s: float
    utilisation: dict[str, float]

    @property
    def calls_per_request(self) -> float:
        """How often the provider was called for a request."""
        return self.upstream_calls / max(1, self.requests)


def read_played(path: Path) -> Played:
    """Read what a player wrote."""
    *outcomes, last = (json.loads(line) for line in path.read_text().splitlines())
    return Played(outcomes=tuple(outcomes), cpu_s=last["cpu_s"])


def figures(
    plan: Plan, played: Played, tallies: Mapping[str, KeyTally], seconds: float, unsound: Collection[str]
) -> Figures:
    """Work out the figures; `unsound` keys are left out of how evenly keys were used."""
    answered = [one for one in played.outcomes if one["failure"] is None]
    failures = Counter(one["failure"] for one in played.outcomes if one["failure"] is not None)
    used = {key.name: utilisation(key, tallies[key.name], seconds) for key in plan.keys}
    sound = [used[key.name] for key in plan.keys if key.name not in unsound]
    waited_s = [one["took_s"] - nominal_s(plan.requests[one["number"]].output_tokens) for one in answered]
    return Figures(
        requests=len(played.outcomes),
        failed=failures.total(),
        failures=dict(failures.most_common()),
        upstream_calls=sum(tally.calls for tally in tallies.values()),
        upstream_429=sum(tally.by_status.get(429, 0) for tally in tallies.values()),
        upstream_401=sum(tally.by_status.get(401, 0) for tally in tallies.values()),
        waited_mean_s=fmean(waited_s) if waited_s else math.nan,
        waited_p50_s=quantile(waited_s, 0.5),
        waited_p99_s=quantile(waited_s, 0.99),
        fullest_to_mean=max(sound) / fmean(sound) if any(sound) else 0.0,
        jain=jain(sound),
        usd_per_1000=1000 * _spent_usd(plan, tallies) / max(1, len(answered)),
        cpu_s=played.cpu_s,
        late_p99_s=quantile((one["late_s"] for one in played.outcomes), 0.99),
        utilisation=used,
    )


def utilisation(key: PlannedKey, tally: KeyTally, seconds: float) -> float:
    """Return how much of a key was used, of requests or tokens what was nearer to its limit."""
    minutes = seconds / 60
    served = tally.by_status.get(200, 0) / (key.rpm * minutes)
    return max(served, (tally.input_tokens + tally.output_tokens) / (key.tpm * minutes))


def jain(values: Sequence[float]) -> float:
    """Return Jain's index: 1 where all are equal, 1/n where one has everything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def _spent_usd(plan: Plan, tallies: Mapping[str, KeyTally]) -> float:
    return sum(
        key.tier.cost_usd(tallies[key.name].input_tokens, tallies[key.name].output_tokens)
        for key in plan.keys
    )
