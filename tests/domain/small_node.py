"""A node without a loop: the real journal, upkeep, deciders and fold over a list, driven step by step."""

from collections.abc import Iterator

from worlds import START_US

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.upkeep import Upkeep
from apikeyrouter.domain import keys, settlement
from apikeyrouter.domain.events import (
    CATALOGUE_STREAM,
    Event,
    EventRef,
    KeyRegistered,
    NewEvent,
    ProviderRegistered,
    Recorded,
    RequestFacts,
    RequestFailed,
    RouteDecided,
    RouteRefused,
    key_stream,
)
from apikeyrouter.domain.failures import Failure, FailureClass
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.routing import RouteQuestion, decide
from apikeyrouter.domain.state import RouterState

FACTS = RequestFacts(operation="chat", model="m", input_tokens_bound=10, output_tokens_bound=10)
ANSWER = settlement.Outcome(
    usage=None,
    model="m",
    finish_reason="stop",
    upstream_request_id=None,
    response_bytes=1,
    response_sha256="0",
)


class ListLog:
    """A log that is a list, and durable at once."""

    def __init__(self) -> None:
        self.recorded: list[Recorded] = []
        self.places: set[tuple[str, int]] = set()

    def append(self, events) -> None:
        for position, new in enumerate(events, len(self.recorded) + 1):
            place = (new.stream, new.version)
            assert place not in self.places, "a place in a stream is given once"
            self.places.add(place)
            self.recorded.append(Recorded(position, *new))

    def read(self) -> Iterator[Recorded]:
        return iter(self.recorded)


class SmallNode:
    """Do by hand what the line does with requests and managers with keys. Its own clock."""

    def __init__(self) -> None:
        self.time_us = START_US
        self.log = ListLog()
        self.journal = Journal(self.log, self, "node")
        self.journal.ready = True
        self.upkeep = Upkeep(self.journal)
        self.out: dict[str, RouteDecided] = {}
        self.requests = 0

    @property
    def state(self) -> RouterState:
        return self.journal.state

    def now_us(self) -> int:
        return self.time_us

    def elapsed_us(self) -> int:
        return 0

    # --- the catalogue, and what managers do -----------------------------------------------------------

    def provider(self, provider_id: str = "p") -> None:
        registered = ProviderRegistered(
            at_us=self.time_us, actor="t", provider_id=provider_id, kind="scripted"
        )
        self.record(CATALOGUE_STREAM, registered)

    def key(self, key_id: str, provider_id: str = "p", **metadata) -> None:
        registered = KeyRegistered(
            at_us=self.time_us,
            actor="t",
            provider_id=provider_id,
            fingerprint=f"print-{key_id}",
            metadata=metadata,
        )
        self.record(key_stream(key_id), registered)

    def manage(self, decider, key_id: str, **details) -> None:
        """Put a manager's command to a key; raises what the decider raises."""
        change = decider(self.state.keys[key_id], at_us=self.time_us, actor="t", **details)
        self.record(key_stream(key_id), *(change if isinstance(change, list) else [change]))
        if decider is keys.drain:
            self.upkeep.drain_idle(self.time_us)

    # --- requests --------------------------------------------------------------------------------------

    def ask(self, *, tried=(), avoided=(), seed: int = 1) -> RouteDecided | RouteRefused:
        """Decide without recording."""
        self.upkeep.wake(self.time_us)
        question = RouteQuestion(
            facts=FACTS,
            policy=policy_of(None),
            attempt=1,
            tried=tuple(tried),
            avoided=tuple(avoided),
            at_us=self.time_us,
            seed=seed,
        )
        return decide(self.state, question)

    def call(self, key_id: str | None = None, **question) -> str | None:
        """Send a request on its way, to one key if it is named; None when it was refused."""
        if key_id is not None:
            question["tried"] = [other for other in self.state.keys if other != key_id]
        decision = self.ask(**question)
        self.requests += 1
        stream = f"request-{self.requests}"
        self.record(stream, decision)
        if isinstance(decision, RouteRefused):
            return None
        self.out[stream] = decision
        return stream

    def fail(self, stream: str, failure_class: FailureClass, **details) -> None:
        """Let a call fail, with all that follows."""
        decision = self.out.pop(stream)
        failure = Failure(failure_class=failure_class, **details)
        key_id = decision.chosen.key_id
        before, known = self.state.keys[key_id], self.state.open_requests[stream]
        failed = settlement.attempt_failed(decision, failure, at_us=self.time_us, elapsed_us=1)
        evidence = self._end(stream, failed)
        self.upkeep.attempt_failed(
            before, failure, at_us=self.time_us, evidence=evidence, material_version=known.material_version
        )
        self.upkeep.released(key_id, at_us=self.time_us, evidence=evidence)
        failed_for_good = RequestFailed(
            at_us=self.time_us, attempts=1, failure=failure_class, status=failure.handling.status
        )
        self.record(stream, failed_for_good)

    def serve(self, stream: str) -> None:
        """Let a call succeed, with all that follows."""
        decision = self.out.pop(stream)
        completed = settlement.completed(
            decision, None, ANSWER, at_us=self.time_us, elapsed_us=9, first_byte_us=7
        )
        evidence = self._end(stream, completed)
        self.upkeep.served(decision.chosen.key_id, at_us=self.time_us, evidence=evidence)
        self.upkeep.released(decision.chosen.key_id, at_us=self.time_us, evidence=evidence)

    def leave(self, stream: str) -> None:
        """Let a client leave its call."""
        decision = self.out.pop(stream)
        cancelled = settlement.cancelled(
            decision, None, None, at_us=self.time_us, elapsed_us=9, response_bytes=1
        )
        evidence = self._end(stream, cancelled)
        self.upkeep.released(decision.chosen.key_id, at_us=self.time_us, evidence=evidence)

    # --- what is told of it ----------------------------------------------------------------------------

    def record(self, stream: str, *events: Event) -> None:
        known = self.state.open_requests.get(stream)
        first = self.state.next_version(stream) if known is None else known.version + 1
        self.journal.record([NewEvent(stream, first + n, event) for n, event in enumerate(events)])

    def events(self, event_type: type) -> list:
        return [recorded.event for recorded in self.log.recorded if isinstance(recorded.event, event_type)]

    def resolves(self, ref: EventRef) -> bool:
        return (ref.stream, ref.version) in self.log.places

    def refolded(self) -> RouterState:
        return RouterState().fold(self.log.read())

    def _end(self, stream: str, event: Event) -> EventRef:
        version = self.state.open_requests[stream].version + 1
        self.record(stream, event)
        return EventRef(stream, version)


def assert_same(live: RouterState, again: RouterState) -> None:
    """Compare two states in all that keys and providers are told by."""
    assert live.keys == again.keys
    assert live.health == again.health
    assert (live.resting, live.unwell, live.next_wake_us) == (again.resting, again.unwell, again.next_wake_us)
    assert live.open_requests.keys() == again.open_requests.keys()
    assert (live.position, live.latest_us) == (again.position, again.latest_us)
    for name in ("available", "reachable", "on_trial", "state_code", "in_flight", "weight", "most_in_flight"):
        assert (getattr(live.columns, name) == getattr(again.columns, name)).all(), name
    assert (live.columns.trials, live.columns.state_ref) == (again.columns.trials, again.columns.state_ref)
