"""Make recorded decisions again from the log and compare the bytes."""

from collections.abc import Iterable, Iterator

import msgspec

from apikeyrouter.domain.events import Recorded, RouteDecided, RouteRefused, canonical_bytes
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.routing import RULES, decide
from apikeyrouter.domain.state import RouterState

MOST_DIFFERENCES = 20


class Difference(msgspec.Struct, frozen=True):
    """A decision that came out otherwise: where it stands, and the first field that differs."""

    position: int
    stream: str
    version: int
    field: str
    recorded: str
    again: str


class Verification(msgspec.Struct, frozen=True):
    """What a verification found; only the first differences are listed, all are counted.

    `by_former_rules` counts decisions of an earlier version, which today's rules cannot make again.
    """

    events: int
    decisions: int
    different: int
    by_former_rules: int
    differences: tuple[Difference, ...]

    @property
    def identical(self) -> bool:
        """True if every decision came out to the same bytes."""
        return self.different == 0


def verify(events: Iterable[Recorded]) -> Verification:
    """Fold the log and decide again at every recorded decision; the whole log, in order, is needed."""
    state = RouterState()
    counted = decisions = different = by_former_rules = 0
    listed: list[Difference] = []
    for recorded in events:
        if not isinstance(recorded.event, RouteDecided | RouteRefused):
            pass
        elif recorded.event.rules != RULES:
            by_former_rules += 1
        else:
            decisions += 1
            again = decide_again(state, recorded.event)
            if canonical_bytes(again) != canonical_bytes(recorded.event):
                different += 1
                if len(listed) < MOST_DIFFERENCES:
                    listed.append(_difference(recorded, again))
        state.evolve(*recorded)
        counted += 1
    return Verification(counted, decisions, different, by_former_rules, tuple(listed))


def decide_again(state: RouterState, recorded: RouteDecided | RouteRefused) -> RouteDecided | RouteRefused:
    """Ask the question of a recorded decision once more, of the state before it."""
    question = RouteQuestion(
        facts=recorded.facts,
        policy=recorded.policy,
        attempt=recorded.attempt,
        tried=recorded.tried,
        avoided=recorded.avoided,
        at_us=recorded.at_us,
        seed=recorded.seed,
    )
    return decide(state, question)


def _difference(recorded: Recorded, again: RouteDecided | RouteRefused) -> Difference:
    before = msgspec.to_builtins(recorded.event)
    after = msgspec.to_builtins(again)
    field, old, new = next(_differing(before, after, ""), ("type", "", ""))
    return Difference(recorded.position, recorded.stream, recorded.version, field, str(old), str(new))


def _differing(before: object, after: object, path: str) -> Iterator[tuple[str, object, object]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            yield from _differing(before.get(name), after.get(name), f"{path}.{name}".lstrip("."))
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple) and len(before) == len(after):
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differing(old, new, f"{path}[{place}]")
    elif before != after:
        yield path, before, after
