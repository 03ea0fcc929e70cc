"""Decisions made again in a range of the log, differences found to the field, and no memory of a long log."""

import tracemalloc
from itertools import count, islice, pairwise

import msgspec
import pytest

from apikeyrouter.application.replay import parts_of, together, verify
from apikeyrouter.application.what_if import Change, Stretch, scripts, what_if
from apikeyrouter.domain.events import Recorded, RouteDecided


def decided(history) -> list[Recorded]:
    return [recorded for recorded in history if isinstance(recorded.event, RouteDecided)]


def altered(history, position: int, **fields) -> list[Recorded]:
    """Change one event as a forger would, and leave all others."""
    return [
        one._replace(event=msgspec.structs.replace(one.event, **fields)) if one.position == position else one
        for one in history
    ]


def test_the_whole_history_comes_out_the_same(history):
    """Every decision, to the byte."""
    found = verify(history)
    assert found.identical
    assert found.decisions == len(decided(history)) + found.by_former_rules
    assert found.events == len(history)


def test_a_range_compares_only_what_stands_in_it(history):
    """The parts of a log add up to the whole, and a difference is found in its own part alone."""
    middle = len(history) // 2
    forged = decided(history)[len(decided(history)) // 3]
    events = altered(history, forged.position, seed=forged.event.seed, eligible=99)
    first, second = verify(events, last=middle), verify(events, first=middle + 1)
    assert first.decisions + second.decisions == verify(events).decisions
    assert (first.different, second.different) == ((1, 0) if forged.position <= middle else (0, 1))
    assert verify(events, first=forged.position, last=forged.position).different == 1


def test_nothing_behind_the_range_is_read(history):
    """A short range at the beginning of a long log costs no more than its end."""

    def endless():
        yield from history
        pytest.fail("read on behind the range")

    assert verify(endless(), last=len(history) - 1).identical


@pytest.mark.parametrize(
    ("fields", "path"), [({"eligible": 99}, "eligible"), ({"excluded": {"quota": 7}}, "excluded")]
)
def test_a_difference_is_located_to_the_field(history, fields, path):
    """Where it stands, which field, what was recorded, what came out."""
    forged = decided(history)[10]
    found = verify(altered(history, forged.position, **fields))
    difference = found.differences[0]
    assert (difference.position, difference.stream, difference.version) == forged[:3]
    assert difference.field.startswith(path)
    assert difference.field == difference.fields[0]
    assert difference.recorded != difference.again


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("span", [(1, 1), (1, 3), (1, 1000), (500, 777)])
def test_parts_make_up_the_range(workers, span):
    """Every position is in one part; later parts, which fold more before they begin, are no longer."""
    parts = parts_of(*span, workers)
    positions = [position for first, last in parts for position in range(first, last + 1)]
    assert positions == list(range(span[0], span[1] + 1))
    lengths = [last - first + 1 for first, last in parts]
    assert all(later <= earlier + 1 for earlier, later in pairwise(lengths))


def test_what_parts_found_is_found_together(history):
    """As if it had been one pass, differences in order."""
    forged = [decided(history)[place] for place in (3, -3)]
    events = history
    for one in forged:
        events = altered(events, one.position, eligible=99)
    spans = parts_of(1, len(history), 3)
    parts = [verify(events, first=first, last=last) for first, last in spans]
    assert together(parts) == verify(events)
    assert together(parts).different == 2


@pytest.mark.parametrize("run", [verify, lambda events: what_if(events, Change(), Stretch())])
def test_memory_does_not_grow_with_the_log(run):
    """Ten times as many requests take no more memory: what has ended is forgotten."""
    peak(run, 400)
    assert peak(run, 6_000) < 1.5 * peak(run, 600) + 300_000


def test_a_request_that_never_ends_does_not_hold_the_log_in_memory(monkeypatch):
    """Others go on behind it; so much is read ahead of a run, to see how requests end, and no more."""
    monkeypatch.setattr(scripts, "MOST_AHEAD", 400)
    ahead = most = 0

    def taken():
        nonlocal ahead, most
        for recorded in _without_an_end(3_000):
            ahead += 1
            most = max(most, ahead)
            yield recorded

    for _ in scripts.stimuli(taken()):
        ahead -= 1
    assert 400 <= most <= 402
    assert ahead == 0


def test_what_lasts_longer_than_is_read_ahead_comes_out_again_as_well(monkeypatch):
    """A run that goes as recorded needs no end in sight."""
    monkeypatch.setattr(scripts, "MOST_AHEAD", 400)
    assert what_if(_without_an_end(1_000), Change(), Stretch()).identical


def _without_an_end(requests: int):
    """A history whose first request never ends."""
    from benchmarks.suites.replay_suite import SettledHistory

    history, positions = SettledHistory(3), count(1)
    for new in history.opening():
        yield Recorded(next(positions), *new)
    for number in range(requests):
        served = history.serve()
        for new in islice(served, 1) if number == 0 else served:
            yield Recorded(next(positions), *new)
        history.requests = number + 1


def peak(run, requests: int) -> int:
    tracemalloc.start()
    run(_long_history(requests))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def _long_history(requests: int):
    from benchmarks.history import History

    history, positions = History(3), count(1)
    for new in history.opening():
        yield Recorded(next(positions), *new)
    for _ in range(requests):
        for new in history.serve():
            yield Recorded(next(positions), *new)
