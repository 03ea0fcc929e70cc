"""Run a stretch of history under a change, several times where outcomes must be drawn, and compare."""

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from apikeyrouter.application.what_if.changes import Change
from apikeyrouter.application.what_if.evidence import Evidence
from apikeyrouter.application.what_if.outcomes import Outcomes
from apikeyrouter.application.what_if.rerun import Rerun
from apikeyrouter.application.what_if.scripts import stimuli
from apikeyrouter.application.what_if.tally import Tally
from apikeyrouter.domain.events import Event, EventRef, Recorded, canonical_bytes
from apikeyrouter.domain.models.system_error import InvalidRequestError

DEFAULT_DRAWS = 5
DEFAULT_ATTEMPTS = 10


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """What is run again, and what the record does not tell about how the router was set up.

    `wait_us` is how long requests may wait for a key where none is recorded to have waited.
    """

    first: int = 1
    last: int | None = None
    draws: int = DEFAULT_DRAWS
    most_attempts: int = DEFAULT_ATTEMPTS
    wait_us: int = 0


class Run(msgspec.Struct):
    """One run: what it came to, on what its outcomes stand, and which choices it changed.

    `bases` counts calls by "recorded", "modelled" and "unknown"; `choices` pairs of first verdicts, before
    and after, where they differ. `first_difference` is where the first event that is not as recorded stands.
    """

    tally: Tally
    bases: dict[str, int]
    choices: dict[tuple[str, str], int]
    first_difference: int | None
    differs_at: EventRef | None


class Comparison(msgspec.Struct):
    """History and the runs of it under a change.

    `favourable` is the run in which every key serves what it may; the others draw what is not known.
    """

    events: int
    requests: int
    before: Tally
    favourable: Run
    runs: list[Run]

    @property
    def identical(self) -> bool:
        """True if the runs are history, to the byte."""
        return all(run.first_difference is None for run in (self.favourable, *self.runs))


class _Watched:
    """A run, its count, and its comparison with the record as far as both are the same."""

    def __init__(self, change: Change, stretch: Stretch, outcomes: Outcomes) -> None:
        self.tally = Tally()
        self.first_difference: int | None = None
        self.differs_at: EventRef | None = None
        self._expected: deque[Recorded] = deque()
        self._made: deque[Recorded] = deque()
        self._strict = change.is_nothing
        self.rerun = Rerun(
            change,
            self._told,
            outcomes,
            most_attempts=stretch.most_attempts,
            wait_us=stretch.wait_us,
        )

    def expect(self, recorded: Recorded) -> None:
        """Note what comes next in the record."""
        if self.first_difference is None:
            self._expected.append(recorded)

    def compare(self) -> None:
        """Compare what was made with what was recorded, as far as there is both."""
        expected, made = self._expected, self._made
        while expected and made and self.first_difference is None:
            self._compare(expected.popleft(), made.popleft())

    def finish(self, *, was_cut: bool) -> Run:
        """Return what the run came to; what follows from the last event of a part lies outside of it."""
        self.rerun.finish()
        self.compare()
        if was_cut:
            self._made.clear()
        for left in (self._expected, self._made):
            if left and self.first_difference is None:
                self._differs(left[0])
        changed = {pair: count for pair, count in self.rerun.choices.items() if pair[0] != pair[1]}
        bases = dict(self.rerun.bases)
        return Run(self.tally, bases, changed, self.first_difference, self.differs_at)

    def _told(self, made: Recorded) -> None:
        self.tally.count(made.event)
        if self.first_difference is None:
            self._made.append(made)

    def _compare(self, expected: Recorded, made: Recorded) -> None:
        same = expected[:3] == made[:3] and self._is_same_event(expected.event, made.event)
        if not same:
            self._differs(expected)

    def _is_same_event(self, expected: Event, made: Event) -> bool:
        if expected is made:
            return True
        if self._strict:
            return type(expected) is type(made) and canonical_bytes(expected) == canonical_bytes(made)
        return expected == made

    def _differs(self, at: Recorded) -> None:
        self.first_difference, self.differs_at = at.position, EventRef(at.stream, at.version)
        self._expected.clear()
        self._made.clear()


def seeds_of(change: Change, stretch: Stretch) -> tuple[int | None, ...]:
    """Return the seeds of the runs that a stretch asks for; the favourable one is first, and has none."""
    return (None, *range(0 if change.is_nothing else stretch.draws))


def together(parts: Sequence[Comparison]) -> Comparison:
    """Put comparisons together that made different runs of the same stretch, in the order of their seeds."""
    favourable, *runs = [run for part in parts for run in (part.favourable, *part.runs)]
    first = parts[0]
    return Comparison(first.events, first.requests, first.before, favourable, runs)


def what_if(
    events: Iterable[Recorded],
    change: Change,
    stretch: Stretch,
    seeds: Sequence[int | None] | None = None,
) -> Comparison:
    """Run the events from position `first` to `last` under a change, all draws side by side in one pass.

    `events` are the whole log in order. Those before the stretch are folded as they are; those behind it tell
    how its last requests ended. `seeds` names some of the runs, where others make the rest. Raises
    `InvalidRequestError` where nothing lies in the stretch, `NotFoundError` where the change names what never
    was.
    """
    evidence, before = Evidence(), Tally()
    chosen = seeds_of(change, stretch) if seeds is None else seeds
    watched = [_Watched(change, stretch, Outcomes(seed, evidence)) for seed in chosen]
    counted = requests = 0
    begun = False
    for stimulus in stimuli(events):
        recorded = stimulus.recorded
        if stretch.last is not None and recorded.position > stretch.last:
            break
        if recorded.position < stretch.first:
            for one in watched:
                one.rerun.world.pass_by(recorded)
            evidence.see(recorded)
            continue
        if not begun:
            begun = True
            for one in watched:
                one.rerun.begin(recorded.position)
        counted += 1
        requests += recorded.version == 1 and recorded.stream.startswith("request-")
        before.count(recorded.event)
        for one in watched:
            one.expect(recorded)
            one.rerun.take(stimulus)
            one.compare()
        evidence.see(recorded)
    if not begun:
        raise InvalidRequestError("the log has no events in that stretch", param="from")
    change.refuse_unmet(watched[0].rerun.world.journal.state)
    favourable, *runs = [one.finish(was_cut=stretch.last is not None) for one in watched]
    return Comparison(counted, requests, before, favourable, runs)
