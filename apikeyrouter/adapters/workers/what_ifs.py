"""The runs of a what-if, shared among processes: each reads the log for itself, and makes its own runs."""

from pathlib import Path
from typing import NamedTuple

from apikeyrouter.adapters.workers.processes import Passed, in_processes
from apikeyrouter.adapters.workers.reading import telling, whole_log
from apikeyrouter.application.what_if import Change, Comparison, Stretch, seeds_of, together, what_if

LEAST_POSITIONS = 20_000
"""Measured: starting a process costs as much as one run over 12,000 events."""


class Runs(NamedTuple):
    """Some of the runs over a log's file up to `until`; one worker tells for all how far they have come."""

    path: str
    until: int
    change: Change
    stretch: Stretch
    seeds: tuple[int | None, ...]
    tells: bool


def worth_sharing(until: int, runs: int, workers: int) -> int:
    """Return among how many of the workers so many runs over so many positions are worth sharing."""
    return max(1, min(workers, runs)) if until >= LEAST_POSITIONS else 1


def what_if_in_processes(
    path: Path, until: int, change: Change, stretch: Stretch, *, workers: int, passed: Passed
) -> Comparison:
    """Compare as `what_if` does; `passed` hears how many positions were passed, all of them up to `until`."""
    seeds = seeds_of(change, stretch)
    bounds = [len(seeds) * place // workers for place in range(workers + 1)]
    shares = [seeds[bounds[place] : bounds[place + 1]] for place in range(workers)]
    parts = [
        Runs(str(path), until, change, stretch, share, tells=place == 0)
        for place, share in enumerate(share for share in shares if share)
    ]
    return together(in_processes(_run, parts, passed))


def _run(part: Runs, passed: Passed) -> Comparison:
    events = whole_log(part.path).read(until=part.until, as_of=part.stretch.first)
    heard = telling(events, passed) if part.tells else events
    return what_if(heard, part.change, part.stretch, part.seeds)
