"""Decisions made again by several processes: each folds up to its range, and decides from there on."""

from pathlib import Path
from typing import NamedTuple

from apikeyrouter.adapters.workers.processes import Passed, in_processes
from apikeyrouter.adapters.workers.reading import telling, whole_log
from apikeyrouter.application.replay import Verification, parts_of, together, verify_past

LEAST_POSITIONS_A_WORKER = 40_000
"""Measured: starting a process costs as much as verifying 25,000 events."""


class Range(NamedTuple):
    """A range of a log's file; what comes to pass up to `untold` is told by another worker."""

    path: str
    first: int
    last: int
    untold: int


def worth_sharing(first: int, last: int, workers: int) -> int:
    """Return among how many of the workers a range is worth sharing."""
    return max(1, min(workers, (last - first + 1) // LEAST_POSITIONS_A_WORKER))


def verify_in_processes(path: Path, first: int, last: int, workers: int, passed: Passed) -> Verification:
    """Verify a range of a log; `passed` hears how many positions were passed, all of them up to `last`."""
    parts = parts_of(first, last, workers) or [(first, last)]
    ranges = [Range(str(path), *part, untold=part[0] - 1 if place else 0) for place, part in enumerate(parts)]
    return together(in_processes(_verify, ranges, passed))


def _verify(part: Range, passed: Passed) -> Verification:
    return verify_past(
        whole_log(part.path),
        first=part.first,
        last=part.last,
        heard=lambda events, begin: telling(
            events, passed, part.untold if begin == part.first else begin - 1
        ),
    )
