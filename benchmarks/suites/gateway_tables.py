"""The gateway suite's tables: medians over the rounds, and ratios taken within each round."""

from collections.abc import Iterable
from typing import Any

from benchmarks.report import ABSENT, middle, note, number, spread, table

OURS = "apikeyrouter"
RIVALS = ("lean", "fastapi-httpx", "tensorzero", "litellm", "litellm-granian")


class Rounds:
    """The measured rounds, by gateway and phase."""

    def __init__(self, rounds: list[dict[str, Any]]) -> None:
        self._rounds = rounds
        self.gateways = list(dict.fromkeys(row["gateway"] for row in rounds))

    def values(self, gateway: str, phase: str, field: str) -> dict[int, float]:
        """Return a figure of each round."""
        return {
            row["round"]: row[field]
            for row in self._rounds
            if row["gateway"] == gateway and row["phase"] == phase and row["completed"]
        }

    def median(self, gateway: str, phase: str, field: str) -> float | None:
        """Return the median of a figure over the rounds."""
        return middle(self.values(gateway, phase, field).values())

    def ratios(self, gateway: str, other: str, phase: str, field: str) -> list[float]:
        """Divide round by round."""
        ours, theirs = self.values(gateway, phase, field), self.values(other, phase, field)
        return [ours[turn] / theirs[turn] for turn in sorted(ours.keys() & theirs.keys()) if theirs[turn]]

    def added(self, gateway: str, phase: str, field: str) -> list[float]:
        """Subtract what the direct call took, round by round."""
        ours, direct = self.values(gateway, phase, field), self.values("direct", phase, field)
        return [ours[turn] - direct[turn] for turn in sorted(ours.keys() & direct.keys())]

    def company(self) -> str:
        """Tell how much of the machine others took meanwhile: above a tenth of a core, measure again."""
        busy = [row["strangers_busy"] for row in self._rounds]
        return f"cores taken by other processes during the phases: {spread(busy)}"

    def suspicious(self) -> Iterable[str]:
        """Tell of phases in which not every request was answered well by exactly one upstream call."""
        for row in self._rounds:
            if row["failed"] or row["unfinished"] or row["upstream_calls"] != row["completed"]:
                yield (
                    f"round {row['round'] + 1} {row['phase']} {row['gateway']}: {row['completed']} answered, "
                    f"{row['failed']} failed ({row['first_failure']}), {row['unfinished']} unfinished, "
                    f"{row['upstream_calls']} upstream calls"
                )


def show(result: dict[str, Any]) -> None:
    """Print all tables of a result."""
    rounds = Rounds(result["rounds"])
    _closed(rounds, {soak["gateway"]: soak for soak in result["soaks"]})
    _open(rounds)
    if OURS in rounds.gateways:
        _ratios(rounds)
    note(rounds.company())
    for name, reason in result["absent"].items():
        note(f"not measured: {name}: {reason}")
    for line in rounds.suspicious():
        note(f"look at: {line}")


def _closed(rounds: Rounds, soaks: dict[str, dict[str, Any]]) -> None:
    rows = []
    for gateway in rounds.gateways:
        if rounds.median(gateway, "closed-64", "cpu_ms") is None:
            continue
        soak = soaks.get(gateway)
        rows.append(
            [
                gateway,
                number(rounds.median(gateway, "closed-64", "cpu_ms"), 3),
                number(rounds.median(gateway, "closed-64", "per_second"), 0),
                number(rounds.median(gateway, "closed-64", "p50_ms")),
                number(rounds.median(gateway, "closed-64", "p99_ms")),
                number(rounds.median(gateway, "closed-1", "p50_ms")),
                number(rounds.median(gateway, "closed-1", "p99_ms")),
                number(rounds.median(gateway, "streams", "cpu_ms"), 2),
                number(rounds.median(gateway, "streams", "first_byte_p50_ms")),
                f"{soak['rss_after_mib']:.0f} after {soak['completed']:,}" if soak else ABSENT,
            ]
        )
    columns = ["gateway", "CPU ms/request", "RPS 64", "p50 64", "p99 64", "p50 1", "p99 1"]
    table(
        "Closed loop, gateway on one core; latencies in ms (the row of the direct call: the upstream's CPU)",
        [*columns, "CPU ms/stream", "stream: first byte p50", "RSS MiB"],
        rows,
    )


def _open(rounds: Rounds) -> None:
    rows = [
        [
            gateway,
            number(rounds.median(gateway, "open-100", "p50_ms"), 3),
            number(rounds.median(gateway, "open-100", "p99_ms"), 3),
            spread(rounds.added(gateway, "open-100", "p50_ms"), 3),
            spread(rounds.added(gateway, "open-100", "p99_ms"), 3),
        ]
        for gateway in rounds.gateways
    ]
    table(
        "Open loop, 100 requests a second, Poisson arrivals; ms from when a request was due",
        ["gateway", "p50", "p99", "p50 added to direct (rounds)", "p99 added (rounds)"],
        rows,
    )


def _ratios(rounds: Rounds) -> None:
    measures = (
        ("CPU per request", "closed-64", "cpu_ms"),
        ("RPS, 64 connections", "closed-64", "per_second"),
        ("p50, 64 connections", "closed-64", "p50_ms"),
        ("p50, 1 connection", "closed-1", "p50_ms"),
        ("CPU per stream", "streams", "cpu_ms"),
    )
    rivals = [rival for rival in RIVALS if rival in rounds.gateways]
    rows = [
        [told, *(spread(rounds.ratios(OURS, rival, phase, field), 3) for rival in rivals)]
        for told, phase, field in measures
    ]
    table(f"{OURS} / other, median (least to greatest) of the rounds", ["", *rivals], rows)
