"""Make recorded decisions again from the log and compare the bytes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import msgspec

from apikeyrouter.application.retention.gaps import ArchivedError
from apikeyrouter.application.retention.ports import Past
from apikeyrouter.application.snapshots.folding import is_outlived
from apikeyrouter.application.snapshots.ports import NO_SNAPSHOTS, Snapshots
from apikeyrouter.domain.events import Event, Recorded, RouteDecided, RouteRefused, canonical_bytes
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.routing import RULES, decide
from apikeyrouter.domain.state import RouterState

MOST_DIFFERENCES = 20
FOLDING_SHARE = 0.3
"""Measured: what an event costs that is only folded, where one that is decided again costs one."""


class Difference(msgspec.Struct, frozen=True):
    """A decision that came out otherwise: where it stands, and the first field that differs.

    `fields` names every field that differs, the first among them.
    """

    position: int
    stream: str
    version: int
    field: str
    recorded: str
    again: str
    fields: tuple[str, ...] = ()


class Verification(msgspec.Struct, frozen=True):
    """What a verification found; only the first differences are listed, all are counted.

    `events` counts what was folded, the decisions those that were made again. `by_former_rules` counts
    decisions of an earlier version, which today's rules cannot make again. `base` is the position of the
    snapshot that folding went on from, 0 where it began with the first event.
    """

    events: int
    decisions: int
    different: int
    by_former_rules: int
    differences: tuple[Difference, ...]
    base: int = 0

    @property
    def identical(self) -> bool:
        """True if every decision came out to the same bytes."""
        return self.different == 0


def verify(
    events: Iterable[Recorded],
    *,
    first: int = 1,
    last: int | None = None,
    state: RouterState | None = None,
) -> Verification:
    """Fold the log and decide again at every recorded decision from position `first` to `last`.

    `events` are the whole log in order, or those behind a `state` that was kept. What is kept meanwhile does
    not grow with their number.
    """
    state = state or RouterState()
    base = state.position
    counted = decisions = different = by_former_rules = 0
    listed: list[Difference] = []
    for recorded in events:
        if last is not None and recorded.position > last:
            break
        if recorded.position < first or not isinstance(recorded.event, RouteDecided | RouteRefused):
            pass
        elif recorded.event.rules != RULES:
            by_former_rules += 1
        else:
            decisions += 1
            again = decide_again(state, recorded.event)
            if canonical_bytes(again) != canonical_bytes(recorded.event):
                different += 1
                if len(listed) < MOST_DIFFERENCES:
                    listed.append(difference(recorded, again))
        state.evolve(*recorded)
        counted += 1
    return Verification(counted, decisions, different, by_former_rules, tuple(listed), base)


def verify_past(
    past: Past,
    *,
    first: int,
    last: int,
    heard: Callable[[Iterable[Recorded], int], Iterable[Recorded]] = lambda events, _first: events,
    snapshots: Snapshots = NO_SNAPSHOTS,
) -> Verification:
    """Verify a range of a log, each stretch from what its own states were folded from.

    `heard` is given the events of each stretch on their way, and where the stretch begins. A snapshot is gone
    on from only where what came before is away; raises `ArchivedError` where there is none either.
    """
    parts = []
    for begin, end in past.stretches(first, last):
        state, events = _whole(past, begin, end, snapshots)
        parts.append(verify(heard(events, begin), first=begin, last=end, state=state))
    return together(parts)


def _whole(
    past: Past, first: int, last: int, snapshots: Snapshots
) -> tuple[RouterState | None, Iterator[Recorded]]:
    try:
        return None, past.read(until=last)
    except ArchivedError as away:
        base, state = snapshots.nearest(first - 1) or (0, None)
        if state is None or is_outlived(past, base, first):
            later, _ = snapshots.nearest(last) or (0, None)
            if not first <= later < last or is_outlived(past, later, last):
                raise
            raise ArchivedError(
                f"{away.message}. What came later can be verified from a snapshot: --from {later + 1}",
                param="from",
            ) from None
        return state, past.read(after=base, until=last)


def parts_of(first: int, last: int, workers: int) -> list[tuple[int, int]]:
    """Cut a range into parts that take equally long: who has a later one folds more before it begins."""
    shares = [sum((1 - FOLDING_SHARE) ** place for place in range(count)) for count in range(workers + 1)]
    ends = [first - 1 + round((last - first + 1) * share / shares[-1]) for share in shares]
    return [(begin + 1, end) for begin, end in pairwise(ends) if end > begin]


def together(parts: Sequence[Verification]) -> Verification:
    """Put the verifications of consecutive ranges together."""
    differences = [difference for part in parts for difference in part.differences]
    return Verification(
        events=max((part.events for part in parts), default=0),
        decisions=sum(part.decisions for part in parts),
        different=sum(part.different for part in parts),
        by_former_rules=sum(part.by_former_rules for part in parts),
        differences=tuple(differences[:MOST_DIFFERENCES]),
        base=max((part.base for part in parts), default=0),
    )


def question_of(recorded: RouteDecided | RouteRefused) -> RouteQuestion:
    """Return what a recorded decision was asked."""
    return RouteQuestion(
        facts=recorded.facts,
        policy=recorded.policy,
        attempt=recorded.attempt,
        tried=recorded.tried,
        avoided=recorded.avoided,
        at_us=recorded.at_us,
        seed=recorded.seed,
    )


def decide_again(state: RouterState, recorded: RouteDecided | RouteRefused) -> RouteDecided | RouteRefused:
    """Ask the question of a recorded decision once more, of the state before it."""
    return decide(state, question_of(recorded))


def difference(recorded: Recorded, again: Event) -> Difference:
    """Locate what differs between an event and the one that was made in its place."""
    found = list(differing(recorded.event, again)) or [("type", "", "")]
    field, old, new = found[0]
    fields = tuple(name for name, _, _ in found)
    place = recorded.position, recorded.stream, recorded.version
    return Difference(*place, field, str(old), str(new), fields)


def differing(before: Event, after: Event) -> Iterator[tuple[str, object, object]]:
    """Yield every field in which two events differ, by its path, with both values."""
    if type(before) is not type(after):
        yield "type", type(before).__name__, type(after).__name__
    yield from _differing(msgspec.to_builtins(before), msgspec.to_builtins(after), "")


def _differing(before: object, after: object, path: str) -> Iterator[tuple[str, object, object]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            yield from _differing(before.get(name), after.get(name), f"{path}.{name}".lstrip("."))
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple) and len(before) == len(after):
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differing(old, new, f"{path}[{place}]")
    elif before != after:
        yield path, before, after
