"""One run: the recorded requests meet a changed world, event by event, at the recorded instants.

A request goes on as recorded while it is sent to the same key; from its first other choice on it goes its
own way, and what the record says of it later is only asked how the request would have ended.
"""

from collections import Counter
from heapq import heappop, heappush

from apikeyrouter.application.passage import Order, Passage
from apikeyrouter.application.what_if.bystanders import Bystanders
from apikeyrouter.application.what_if.changes import Change, Interventions
from apikeyrouter.application.what_if.evidence import failure_in
from apikeyrouter.application.what_if.outcomes import Ending, Outcomes, outcome_in
from apikeyrouter.application.what_if.scripts import Script, Stimulus, is_same_choice
from apikeyrouter.application.what_if.walk import Steps, Walk
from apikeyrouter.application.what_if.world import Told, World
from apikeyrouter.domain import deferral
from apikeyrouter.domain.events import (
    AttemptFailed,
    NodeStarted,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
)
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.request_folds import PROCESS_DIED
from apikeyrouter.domain.routing import decide

Decision = RouteDecided | RouteRefused | RouteDeferred
REFUSED = "refused"
DEFERRED = "deferred"


class Rerun:
    """The changed world, the requests under way in it, and what is due to happen to them."""

    def __init__(
        self, change: Change, told: Told, outcomes: Outcomes, *, most_attempts: int, wait_us: int
    ) -> None:
        """Prepare a run; `wait_us` is how long a request may wait where the record does not tell."""
        self.world = World(told)
        self.bases: Counter[str] = Counter()
        self.choices: Counter[tuple[str, str]] = Counter()
        self.diverged = False
        self._change = change
        self._steps = Steps(self.world)
        self._outcomes = outcomes
        self._bystanders = Bystanders(self.world, change, Interventions(change))
        self._most_attempts = most_attempts
        self._wait_us = wait_us
        self._walks: dict[str, Walk] = {}
        self._waiting: dict[str, Walk] = {}
        self._freed = False
        self._first = 1
        self._due: list[tuple[int, int, Walk, Ending | None]] = []
        self._serial = 0

    def begin(self, first: int) -> None:
        """Bring about what is different from the beginning of the stretch, position `first`, on."""
        self._first = first
        self._bystanders.begin()

    def take(self, stimulus: Stimulus) -> None:
        """Take in the next recorded event."""
        recorded, script = stimulus.recorded, stimulus.script
        at_us = recorded.event.at_us
        if self._due:
            self._play(before_us=at_us)
        self._take(recorded, script, stimulus, at_us)
        if self._freed:
            self._serve_waiting()

    def _take(self, recorded: Recorded, script: Script | None, stimulus: Stimulus, at_us: int) -> None:
        self.world.clock.at_us = at_us
        if script is None or not recorded.stream.startswith("request-"):
            self._other(recorded, script)
            return
        if not self._begins(script):
            self._bystanders.verbatim(recorded)
            return
        walk = self._walks.get(recorded.stream)
        if walk is None:
            if recorded.version > 1:
                return  # it came to its end before, another way
            walk = self._arrive(script, at_us)
        if walk.in_step:
            self._step(walk, recorded, stimulus)

    def finish(self) -> None:
        """Let everything end that is under way."""
        self._play(before_us=None)

    # --- requests that go as recorded -----------------------------------------------------------------

    def _arrive(self, script: Script, at_us: int) -> Walk:
        first = script.events[0].event
        assert isinstance(first, Decision)  # noqa: S101 - a request's stream begins with a decision
        policy = script.policy() or policy_of(None)
        order = Order(facts=first.facts, policy=self._change.policy_for(policy), body=b"")
        passage = Passage(
            request_id=script.stream.removeprefix("request-"), stream=script.stream, order=order, started_us=0
        )
        walk = self._walks[script.stream] = Walk(passage, script, at_us)
        return walk

    def _step(self, walk: Walk, recorded: Recorded, stimulus: Stimulus) -> None:
        steps = self._steps
        match recorded.event:
            case RouteDecided() | RouteRefused() | RouteDeferred() as event:
                self._ask_as_recorded(walk, event)
                return
            case AttemptFailed() as event:
                failure, later = failure_in(event), walk.script.breaks_at(recorded.version)
                if stimulus.is_owed:
                    steps.owed(walk, failure, event.elapsed_us, is_settled_later=later)
                else:
                    steps.failed(walk, failure, event.elapsed_us, is_recorded=True, is_settled_later=later)
                walk.passage.remember(failure, may_rest=self._wait_us > 0)
                return
            case RequestCompleted() as event:
                then_us = walk.script.followed_us.get(recorded.version, event.at_us)
                outcome = outcome_in(event)
                steps.served(walk, outcome, event.at_us, event.elapsed_us, event.first_byte_us, then_us)
            case RequestFailed() as event:
                steps.failed_for_good(walk, event)
            case RequestCancelled() as event:
                steps.left(walk, event)
            case RequestReleased() as event:
                follows = event.trigger != PROCESS_DIED and not stimulus.is_owed
                steps.released(walk, event.trigger, follows=follows)
        self._ended(walk)

    def _ask_as_recorded(self, walk: Walk, event: Decision) -> None:
        if not isinstance(event, RouteDeferred):
            walk.passage.tried, walk.passage.avoided = event.tried, event.avoided
        seed = self._outcomes.seed(walk.script, event.attempt)
        wait_us = event.wait_until_us - event.at_us if isinstance(event, RouteDeferred) else self._wait_us
        if isinstance(event, RouteRefused) or walk.wait_until_us is not None:
            wait_us = 0 if not isinstance(event, RouteDeferred) else wait_us
        behind = isinstance(event, RouteDeferred) and event.reason == deferral.BEHIND_OTHERS
        decision = self._decide(walk, event.at_us, seed, wait_us, behind=behind and not self.diverged)
        if event.attempt == 1 and walk.wait_until_us is None:
            self.choices[_verdict(event), _verdict(decision)] += 1
        self._record(walk, decision, _same(event, decision))

    # --- requests that go their own way ---------------------------------------------------------------

    def _play(self, before_us: int | None) -> None:
        while self._due and (before_us is None or self._due[0][0] < before_us):
            at_us, _, walk, ending = heappop(self._due)
            self.world.clock.at_us = at_us
            if ending is None:
                self._try_again(walk, at_us)
            elif self._walks.get(walk.passage.stream) is walk:
                self._end(walk, ending, at_us)
            if self._freed:
                self._serve_waiting()

    def _end(self, walk: Walk, ending: Ending, at_us: int) -> None:
        failure = self._steps.end(walk, ending, at_us)
        if failure is None:
            self._ended(walk)
            return
        walk.passage.remember(failure, may_rest=self._wait_us > 0)
        if walk.passage.may_ask_another(failure, self._most_attempts):
            self._ask(walk, at_us, self._wait_us)
        else:
            self._steps.gave_up(walk, failure)
            self._ended(walk)

    def _ask(self, walk: Walk, at_us: int, wait_us: int) -> None:
        seed = self._outcomes.seed(walk.script, walk.passage.attempt + 1)
        self._record(walk, self._decide(walk, at_us, seed, wait_us), same=False)

    def _try_again(self, walk: Walk, at_us: int) -> bool:
        """Ask for a waiting request once more, and again when its time has come; tell whether it goes on."""
        until_us = walk.wait_until_us
        if until_us is None or self._waiting.get(walk.passage.stream) is not walk:
            return True
        seed = self._outcomes.seed(walk.script, walk.passage.attempt + 1)
        decision = self._decide(walk, at_us, seed, until_us - at_us)
        if isinstance(decision, RouteDeferred):
            self._wake(walk, decision, until_us)
            return False
        self._record(walk, decision, same=False)
        return True

    def _wake(self, walk: Walk, deferred: RouteDeferred, until_us: int) -> None:
        soon_us = until_us if deferred.retry_at_us is None else min(deferred.retry_at_us, until_us)
        if walk.wakes_at_us is None or not self.world.clock.at_us < walk.wakes_at_us <= soon_us:
            walk.wakes_at_us = max(soon_us, deferred.at_us + 1)
            self._later(walk.wakes_at_us, walk, None)

    def _serve_waiting(self) -> None:
        """Let those go on who wait, oldest first for each model, now that something has come free."""
        while self._freed:
            self._freed = False
            stuck: set[object] = set()
            for walk in list(self._waiting.values()):
                facts = walk.passage.order.facts
                pool = facts.model, facts.provider_id, facts.needs
                if pool not in stuck and not self._try_again(walk, self.world.clock.at_us):
                    stuck.add(pool)

    def _later(self, at_us: int, walk: Walk, ending: Ending | None) -> None:
        self._serial += 1
        heappush(self._due, (at_us, self._serial, walk, ending))

    # --- what both have in common ---------------------------------------------------------------------

    def _decide(self, walk: Walk, at_us: int, seed: int, wait_us: int, *, behind: bool = False) -> Decision:
        passage, state = walk.passage, self.world.journal.state
        self.world.upkeep.wake(at_us)
        question = RouteQuestion(
            facts=passage.order.facts,
            policy=passage.order.policy,
            attempt=passage.attempt + 1,
            tried=passage.tried,
            avoided=passage.avoided,
            at_us=at_us,
            seed=seed,
        )
        decision = decide(state, question)
        if wait_us > 0 and isinstance(decision, RouteRefused):
            return deferral.until_capacity(state, decision, wait_us) or decision
        if behind and wait_us > 0:
            return deferral.behind_others(question, wait_us)
        return decision

    def _record(self, walk: Walk, decision: Decision, same: bool) -> None:  # noqa: FBT001 - the verdict of a comparison
        if not same:
            walk.in_step, self.diverged = False, True
        match decision:
            case RouteDecided():
                self._waiting.pop(walk.passage.stream, None)
                self._steps.admit(walk, decision)
                if walk.in_step:
                    self.bases["recorded"] += 1
                    return
                ending = self._outcomes.of(walk.script, decision)
                self.bases[ending.basis] += 1
                self._later(decision.at_us + max(ending.after_us, 0), walk, ending)
            case RouteRefused():
                self._steps.say(walk, decision)
                self._ended(walk)
            case RouteDeferred():
                self._steps.say(walk, decision)
                walk.wait_until_us = decision.wait_until_us
                if self.diverged:
                    walk.in_step = False
                    self._waiting[walk.passage.stream] = walk
                    self._wake(walk, decision, decision.wait_until_us)

    def _ended(self, walk: Walk) -> None:
        """Forget a request; whoever waits in a changed world may have its place."""
        del self._walks[walk.passage.stream]
        self._waiting.pop(walk.passage.stream, None)
        self._freed = bool(self._waiting)

    def _begins(self, script: Script) -> bool:
        """Tell whether a request began within the stretch."""
        return script.begins and script.events[0].position >= self._first

    def _other(self, recorded: Recorded, script: Script | None) -> None:
        walk = None if script is None else self._walks.get(script.stream)
        begins = script is not None and self._begins(script)
        self._bystanders.take(recorded, is_derived=begins, in_step=walk is not None and walk.in_step)
        if isinstance(recorded.event, NodeStarted):
            for lost in [walk for walk in self._walks.values() if not walk.in_step]:
                self._steps.released(lost, PROCESS_DIED, follows=False)
                self._ended(lost)


def _verdict(decision: Decision) -> str:
    match decision:
        case RouteDecided():
            return decision.chosen.key_id
        case RouteRefused():
            return REFUSED
    return DEFERRED


def _same(event: Decision, decision: Decision) -> bool:
    if isinstance(event, RouteDecided) and isinstance(decision, RouteDecided):
        return is_same_choice(event, decision)
    return type(event) is type(decision)
