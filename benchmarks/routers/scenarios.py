"""What happens to the keys on the way, and the script of a provider that lets it happen."""

from collections.abc import Collection
from typing import Any, NamedTuple

from apikeyrouter.interfaces.scripted_provider import KeyScript, Script
from benchmarks.routers.plan import Plan, PlannedKey

LATENCY_MS = 250.0
TOKEN_MS = 3.0
SLOWED = 20
FILL = 0.25
"""A full bucket lends a minute's worth, which a run of minutes would spend before any limit is felt."""
CHANGE_AT = 0.25
REMEMBERED_CALLS = 200_000
MOST_OUTPUT_TOKENS = 100_000


class Scenario(NamedTuple):
    """A run: which key changes a quarter into it, and how."""

    name: str
    told: str
    key: int | None = None

    def changes(self, key: PlannedKey) -> dict[str, Any]:
        """Return the fields of the key's script that change."""
        match self.name:
            case "dying":
                return {"faults": [{"kind": "status", "status": 401}]}
            case "slow":
                return {"latency_ms": LATENCY_MS * SLOWED}
            case "halved":
                return {"rpm": max(1, key.rpm // 2), "tpm": max(1, key.tpm // 2)}
        return {}


SCENARIOS = (
    Scenario("healthy", "nothing happens"),
    Scenario("dying", "the key of 16 % of the capacity answers 401: load 1.07 of what is left", 8),
    Scenario("slow", f"the key of 11 % takes {SLOWED} times as long to think", 6),
    Scenario("halved", "the key of 19 % loses half of its limits: load 0.99 of what is left", 9),
)


def scenarios(names: Collection[str]) -> list[Scenario]:
    """Return the scenarios of these names, all where none is given."""
    if unknown := set(names) - {one.name for one in SCENARIOS}:
        known = ", ".join(one.name for one in SCENARIOS)
        raise ValueError(f"no scenario is called {', '.join(sorted(unknown))}; there are {known}")
    return [one for one in SCENARIOS if not names or one.name in names]


def script_for(plan: Plan) -> Script:
    """Script a provider that holds every key to the limits of the plan."""
    return Script(
        keys={key.name: _key_script(key) for key in plan.keys},
        output_tokens=MOST_OUTPUT_TOKENS,
        remembered_calls=REMEMBERED_CALLS,
    )


def _key_script(key: PlannedKey) -> KeyScript:
    return KeyScript(
        key=key.material, rpm=key.rpm, tpm=key.tpm, fill=FILL, latency_ms=LATENCY_MS, token_ms=TOKEN_MS
    )


def nominal_s(output_tokens: int) -> float:
    """Return how long a key in good health takes for an answer."""
    return (LATENCY_MS + TOKEN_MS * output_tokens) / 1000
