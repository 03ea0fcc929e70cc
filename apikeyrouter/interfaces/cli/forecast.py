"""`apikeyrouter forecast`: how well exhaustion is foreseen, on a trace or on synthetic traffic."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apikeyrouter.domain.windows import SECOND_US
from apikeyrouter.interfaces.cli.options import AsJson
from apikeyrouter.interfaces.cli.screen import console, print_json, table

if TYPE_CHECKING:
    from apikeyrouter.application.backtest import Case, Series, Summary
    from apikeyrouter.interfaces.traffic.arrivals import Arrival

app = typer.Typer(help="Foresee when quotas run out, and score that.", no_args_is_help=True)

WINDOWS_S = [60, 300, 900, 3600]
LOADS = [0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3]
WINDOWS_OF_PATTERN = 40
PARTS = ((0.0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.0))
"""Parts of a window by which the errors of time are shown: they differ by what the window tells so far."""


class Dimension(StrEnum):
    """What the limit counts."""

    Requests = "requests"
    Tokens = "tokens"


class PatternName(StrEnum):
    """The synthetic kinds of traffic."""

    Steady = "steady"
    Daily = "daily"
    Bursts = "bursts"
    Drift = "drift"
    Stop = "stop"


@app.callback()
def _forecast() -> None:
    pass


@app.command(epilog="Example: apikeyrouter forecast backtest --pattern bursts --dimension tokens")
def backtest(
    trace: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A recorded trace (CSV).")
    ] = None,
    pattern: Annotated[
        PatternName, typer.Option(help="Synthetic traffic where no trace is given.")
    ] = PatternName.Bursts,
    dimension: Annotated[Dimension, typer.Option(help="What the limit counts.")] = Dimension.Requests,
    window: Annotated[list[int] | None, typer.Option(min=1, help="Seconds; may be repeated.")] = None,
    load: Annotated[
        list[float] | None, typer.Option(min=0.01, max=100, help="Mean demand over limit; may be repeated.")
    ] = None,
    accounts: Annotated[int, typer.Option(min=1, max=64, help="Spread the requests over accounts.")] = 1,
    series: Annotated[int, typer.Option(min=1, max=64, help="Synthetic series, each of its own.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes other traffic.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Forecast every window of the past at ten instants, and compare with what came."""
    windows_s, loads = window or WINDOWS_S, load or LOADS
    cases: dict[int, list[Case]] = {window_s: [] for window_s in windows_s}
    for window_s, one in _all_series(trace, pattern, dimension, windows_s, accounts, series, seed):
        cases[window_s] += _cases(one, window_s, loads)
    source = trace.name if trace else f"{pattern}, {series} series"
    if as_json:
        print_json({"source": source, "dimension": dimension, "loads": loads, **_as_data(cases)})
    else:
        _show(f"{source}, {dimension}", cases)


def _all_series(
    trace: Path | None,
    pattern: str,
    dimension: Dimension,
    windows_s: list[int],
    accounts: int,
    series: int,
    seed: int,
) -> Iterator[tuple[int, "Series"]]:
    """Yield series with the windows that they are meant for: a trace for all, a synthetic one for its own."""
    from apikeyrouter.interfaces.traffic import read_trace

    if trace is not None:
        arrivals = sorted(read_trace(trace))
        for one in _spread(arrivals, dimension, accounts, seed):
            yield from ((window_s, one) for window_s in windows_s)
        return
    for window_s in windows_s:
        for number in range(series):
            synthetic = _synthetic(pattern, seed * 10_000 + window_s + number, window_s)
            yield from ((window_s, one) for one in _spread(synthetic, dimension, accounts, seed))


def _synthetic(pattern: str, seed: int, window_s: int) -> list["Arrival"]:
    """Return forty windows of traffic, of twenty to two hundred requests each on average."""
    from apikeyrouter.interfaces.traffic.patterns import Pattern, pattern_arrivals

    per_window = 20 * 10 ** (seed * 7 % 11 / 10)
    duration_s = float(window_s * WINDOWS_OF_PATTERN)
    return pattern_arrivals(Pattern(pattern), seed, duration_s, round(per_window * WINDOWS_OF_PATTERN))


def _spread(arrivals: list["Arrival"], dimension: Dimension, accounts: int, seed: int) -> Iterator["Series"]:
    """Give every request to an account at random; the accounts with any demand become series."""
    import numpy as np

    from apikeyrouter.application.backtest import Series

    at_us = np.array([arrival.at_us for arrival in arrivals], dtype=np.int64)
    amounts = np.ones(len(arrivals))
    if dimension is Dimension.Tokens:
        amounts = np.array([float(arrival.input_tokens + arrival.output_tokens) for arrival in arrivals])
    owner = np.random.default_rng(seed).integers(0, accounts, len(arrivals))
    for account in range(accounts):
        mine = owner == account
        if mine.any():
            yield Series(at_us[mine], amounts[mine])


def _cases(series: "Series", window_s: int, loads: list[float]) -> list["Case"]:
    from apikeyrouter.application.backtest import Plan
    from apikeyrouter.application.backtest import backtest as score

    return score(series, Plan(window_us=window_s * SECOND_US, loads=loads))


def _as_data(cases: dict[int, list["Case"]]) -> dict[str, Any]:
    from apikeyrouter.application.backtest import summarise

    everything = [case for each in cases.values() for case in each]
    return {
        "windows": [{"window_s": window_s, **summarise(each)._asdict()} for window_s, each in cases.items()],
        "all": summarise(everything)._asdict(),
        "parts": [
            {"from": low, "to": high, **summarise(part)._asdict()} for low, high, part in _parts(everything)
        ],
    }


def _parts(cases: list["Case"]) -> Iterator[tuple[float, float, list["Case"]]]:
    for low, high in PARTS:
        yield low, high, [case for case in cases if low <= case.place < high]


def _show(title: str, cases: dict[int, list["Case"]]) -> None:
    """Print the scores by window, the errors of time by part of the window, and what the columns mean."""
    from apikeyrouter.application.backtest import summarise

    everything = [case for each in cases.values() for case in each]
    headings = (">window", ">forecasts", ">ran out", ">calibration\nerror", ">straight\nline", ">Brier")
    shown = table(*headings, ">straight\nline", ">in 80 %\ninterval", ">time error\n(windows)", title=title)
    for name, some in [*((f"{window_s} s", each) for window_s, each in cases.items()), ("all", everything)]:
        shown.add_row(name, *_row(summarise(some)))
    page = console()
    page.print(shown)
    parts = table(
        ">asked at", ">ran out", ">time error", ">straight line", ">ratio", ">until reset", ">ratio"
    )
    for low, high, part in _parts(everything):
        parts.add_row(f"{low:.0%} to {high:.0%}", *_time_row(summarise(part)))
    parts.add_row("all", *_time_row(summarise(everything)))
    page.print()
    page.print(parts)
    page.print()
    page.print(NOTES, style="dim")
    for window_s, each in cases.items():
        if not each:
            page.print(f"[yellow]No window of {window_s} s is whole in this series: nothing to score.[/]")


NOTES = """\
Calibration error: |told - came true|, averaged over tenths of the scale by how often each was told.
Forecasts are asked for at ten instants of each window and at every load, while the limit is not yet passed.
Straight line: used in this window / time since its start, extended; "until reset" caps it at the reset.
Time errors are medians over the cases that ran out, in shares of a window."""


def _row(summary: "Summary") -> list[str]:
    return [
        f"{summary.cases:,}",
        f"{summary.exhausted:,}",
        _number(summary.calibration_error),
        _number(summary.line_calibration_error),
        _number(summary.brier),
        _number(summary.line_brier),
        "-" if summary.coverage is None else f"{summary.coverage:.0%}",
        _number(summary.time_error, 4),
    ]


def _time_row(summary: "Summary") -> list[str]:
    mine = summary.time_error
    rivals = (summary.line_time_error, summary.line_time_error_until_reset)
    compared = [text for rival in rivals for text in (_number(rival, 4), _ratio(mine, rival))]
    return [f"{summary.exhausted:,}", _number(mine, 4), *compared]


def _ratio(mine: float | None, rival: float | None) -> str:
    return "-" if mine is None or not rival else f"{mine / rival:.2f}"


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
