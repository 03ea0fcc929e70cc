"""Small worlds for domain tests: a state folded from events, and questions to it."""

from apikeyrouter.domain.events import (
    CATALOGUE_STREAM,
    Event,
    KeyRegistered,
    ModelOffer,
    NewEvent,
    Policy,
    ProviderRegistered,
    RequestFacts,
    RouteDecided,
    key_stream,
)
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.state import RouterState

START_US = 1_760_000_000_000_000
SECOND_US = 1_000_000


class World:
    """Append events to a state as a log would, and keep them."""

    def __init__(self) -> None:
        self.state = RouterState()
        self.log: list[NewEvent] = []
        self.versions: dict[str, int] = {}
        self.now_us = START_US

    def append(self, stream: str, event: Event) -> int:
        version = self.versions[stream] = self.versions.get(stream, 0) + 1
        new = NewEvent(stream, version, event)
        self.log.append(new)
        self.state.apply([new])
        return version

    def provider(self, provider_id: str = "openai", models: tuple[ModelOffer, ...] = ()) -> None:
        self.append(
            CATALOGUE_STREAM,
            ProviderRegistered(
                at_us=self.now_us, actor="test", provider_id=provider_id, kind="openai", models=models
            ),
        )

    def key(self, key_id: str, provider_id: str = "openai", **metadata: object) -> None:
        self.append(
            key_stream(key_id),
            KeyRegistered(
                at_us=self.now_us,
                actor="test",
                provider_id=provider_id,
                fingerprint=f"print-{key_id}",
                metadata=metadata,
            ),
        )

    def question(
        self,
        model: str = "m",
        *,
        policy: Policy | None = None,
        tried: tuple[str, ...] = (),
        seed: int = 1,
        provider_id: str | None = None,
        needs: tuple[str, ...] = (),
        input_tokens: int = 1000,
    ) -> RouteQuestion:
        facts = RequestFacts(
            operation="chat",
            model=model,
            provider_id=provider_id,
            needs=needs,
            input_tokens_bound=input_tokens,
            output_tokens_bound=100,
        )
        return RouteQuestion(
            facts=facts,
            policy=policy or policy_of(None),
            attempt=len(tried) + 1,
            tried=tried,
            at_us=self.now_us,
            seed=seed,
        )

    def refolded(self) -> RouterState:
        again = RouterState()
        again.apply(self.log)
        return again


def chosen(decision: object) -> str:
    assert isinstance(decision, RouteDecided), decision
    return decision.chosen.key_id
