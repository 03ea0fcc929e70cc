"""What the demo found, in numbers and in words; all of it folded from the log."""

from collections.abc import Sequence
from statistics import quantiles
from typing import Any

import msgspec
from rich.console import Console

from apikeyrouter.application.replay import Verification
from apikeyrouter.interfaces.cli.replay_verify import outcome
from apikeyrouter.interfaces.cli.screen import milliseconds, rounded_usd, table, usd
from apikeyrouter.interfaces.demo.scoreboard import KeyRow, Scoreboard


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a demo."""

    scoreboard: Scoreboard
    verification: Verification
    log: str

    def as_data(self) -> dict[str, Any]:
        """Return the findings as JSON types."""
        board, totals = self.scoreboard, self.scoreboard.totals
        return {
            "requests": {
                "ended": totals.ended,
                "answered": totals.answered,
                "failed": totals.failed,
                "refused": totals.refused,
                "cancelled": totals.cancelled,
            },
            "upstream_failures": {
                "all": totals.upstream_failures,
                "absorbed": totals.absorbed,
                "by_class": dict(board.failures),
            },
            "tokens": {"input": totals.input_tokens, "output": totals.output_tokens},
            "cost_usd": usd(totals.cost_nano_usd).removeprefix("$"),
            "elapsed_ms": {"median": median_us(board) / 1000, "p95": p95_us(board) / 1000},
            "keys": [msgspec.to_builtins(row) for row in board.rows.values()],
            "log": {"position": board.position, "path": self.log},
            "replay": {**msgspec.to_builtins(self.verification), "identical": self.verification.identical},
            "most_attempts": {
                "request_id": board.most_attempts[0].removeprefix("request-"),
                "attempts": board.most_attempts[1],
            },
        }


def median_us(scoreboard: Scoreboard) -> float:
    """Return the time that half of the answers needed at most."""
    return _quantile(scoreboard.elapsed_us, 50)


def p95_us(scoreboard: Scoreboard) -> float:
    """Return the time that nineteen in twenty answers needed at most."""
    return _quantile(scoreboard.elapsed_us, 95)


def show(findings: Findings, page: Console) -> None:
    """Print the findings for people."""
    shown = table("", "")
    shown.show_header = False
    shown.columns[0].style = "bold"
    for what, told in _lines(findings):
        shown.add_row(what, told)
    page.print(shown)


def _lines(findings: Findings) -> list[tuple[str, str]]:
    board, totals = findings.scoreboard, findings.scoreboard.totals
    seen = _failures(totals.failed + totals.refused)
    classes = ", ".join(f"{count} {name}" for name, count in board.failures.most_common())
    median, p95 = milliseconds(median_us(board)), milliseconds(p95_us(board))
    cost, tokens = rounded_usd(totals.cost_nano_usd), f"{totals.input_tokens:,} tokens in"
    return [
        ("requests", f"{totals.answered:,} of {totals.ended:,} answered, {seen} for clients"),
        ("upstream failures", f"{totals.absorbed:,} of {totals.upstream_failures:,} absorbed: {classes}"),
        ("spread", _spread(board)),
        ("time to answer", f"median {median}, 95 % within {p95}"),
        ("cost", f"{cost} for {tokens}, {totals.output_tokens:,} out"),
        ("log", f"position {board.position:,}"),
        ("replay verify", outcome(findings.verification)),
    ]


def _failures(seen: int) -> str:
    return f"[bold red]{seen:,} failed[/]" if seen else "[green]0 failed[/]"


def _spread(scoreboard: Scoreboard) -> str:
    working = sorted((row for row in scoreboard.rows.values() if row.answered), key=lambda row: -row.answered)
    if not working:
        return "nothing was answered"
    busiest, quietest = working[0], working[-1]
    return (
        f"busiest {busiest.label} {_share(busiest, scoreboard)}, quietest {quietest.label}"
        f" {_share(quietest, scoreboard)} of the answers"
    )


def _share(row: KeyRow, scoreboard: Scoreboard) -> str:
    return f"{row.answered / max(scoreboard.totals.answered, 1):.0%}"


def _quantile(values: Sequence[int], percent: int) -> float:
    if len(values) < 2:
        return float(sum(values))
    return quantiles(values, n=100, method="inclusive")[percent - 1]
