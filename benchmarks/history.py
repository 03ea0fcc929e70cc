"""A history made by the domain itself: keys, and requests that were decided, served and settled."""

from collections.abc import Iterator

from apikeyrouter.domain.events import (
    CATALOGUE_STREAM,
    Event,
    KeyRegistered,
    Metadata,
    NewEvent,
    Policy,
    ProviderRegistered,
    RequestCompleted,
    RequestFacts,
    RouteDecided,
    key_stream,
    request_stream,
)
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.offers import parse_offers
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.routing import decide
from apikeyrouter.domain.state import RouterState
from benchmarks.wire import MODEL

EPOCH_US = 1_760_000_000_000_000
REQUEST_GAP_US = 2_000
FACTS = RequestFacts(
    operation="chat",
    model=MODEL,
    input_tokens_bound=120,
    output_tokens_bound=256,
    body_bytes=240,
    body_sha256="9f" * 32,
)


class History:
    """A state, and the next events to happen to it; the same every time."""

    def __init__(self, keys: int, objective: str = "fairness", limits: Metadata | None = None) -> None:
        self.state = RouterState()
        self.policy: Policy = policy_of(objective)
        self.requests = 0
        self._keys = keys
        self._limits = limits or {}

    def opening(self) -> list[NewEvent]:
        """Register a provider and its keys."""
        models = parse_offers([MODEL])
        provider = ProviderRegistered(
            at_us=EPOCH_US, actor="bench", provider_id="openai", kind="openai", models=models
        )
        events = [NewEvent(CATALOGUE_STREAM, 1, provider)]
        for number in range(self._keys):
            registered = KeyRegistered(
                at_us=EPOCH_US,
                actor="bench",
                provider_id="openai",
                fingerprint=f"{number:064x}",
                metadata=self._limits,
            )
            events.append(NewEvent(key_stream(f"k{number:05}"), 1, registered))
        self.state.apply(events)
        return events

    def question(self) -> RouteQuestion:
        """Ask for the next request's key."""
        at_us = EPOCH_US + self.requests * REQUEST_GAP_US
        return RouteQuestion(
            facts=FACTS,
            policy=self.policy,
            attempt=1,
            tried=(),
            at_us=at_us,
            seed=self.requests * 2_654_435_761,
        )

    def serve(self) -> Iterator[NewEvent]:
        """Decide and settle the next request, and take both into the state."""
        stream = request_stream(f"{self.requests:032x}")
        decision = decide(self.state, self.question())
        assert isinstance(decision, RouteDecided)
        yield self._happen(stream, 1, decision)
        yield self._happen(stream, 2, self._completion(decision))
        self.requests += 1

    def _happen(self, stream: str, version: int, event: Event) -> NewEvent:
        new = NewEvent(stream, version, event)
        self.state.apply((new,))
        return new

    def _completion(self, decision: RouteDecided) -> RequestCompleted:
        elapsed_us = 400_000 + decision.seed % 300_000
        return RequestCompleted(
            at_us=decision.at_us + elapsed_us % REQUEST_GAP_US,
            attempt=1,
            key_id=decision.chosen.key_id,
            provider_id=decision.chosen.provider_id,
            model=MODEL,
            input_tokens=34,
            output_tokens=120,
            usage_source="provider",
            cost_nano_usd=77_100,
            finish_reason="stop",
            elapsed_us=elapsed_us,
            first_byte_us=elapsed_us // 2,
            response_bytes=1024,
            response_sha256="3c" * 32,
            upstream_request_id="req-bench",
        )
