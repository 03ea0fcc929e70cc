"""A log in which providers and keys appear, and prices change; time stands still."""

from apikeyrouter.domain.events import (
    CATALOGUE_STREAM,
    Event,
    KeyRegistered,
    NewEvent,
    Policy,
    Prices,
    PriceSet,
    ProviderRegistered,
    RequestFacts,
    key_stream,
)
from apikeyrouter.domain.questions import RouteQuestion

NOW_US = 1_760_000_000_000_000


class PricedWorld:
    """Events in the order in which they are told."""

    def __init__(self) -> None:
        self.log: list[NewEvent] = []

    def append(self, stream: str, event: Event) -> None:
        version = sum(new.stream == stream for new in self.log) + 1
        self.log.append(NewEvent(stream, version, event))

    def provider(self, provider_id: str = "openai") -> None:
        registered = ProviderRegistered(at_us=NOW_US, actor="test", provider_id=provider_id, kind="openai")
        self.append(CATALOGUE_STREAM, registered)

    def key(self, key_id: str, provider_id: str = "openai") -> None:
        registered = KeyRegistered(
            at_us=NOW_US, actor="test", provider_id=provider_id, fingerprint=f"print-{key_id}"
        )
        self.append(key_stream(key_id), registered)

    def price(self, provider_id: str, prices: Prices) -> None:
        told = PriceSet(
            at_us=NOW_US,
            actor="test",
            provider_id=provider_id,
            model="m",
            prices_nano_usd_per_million=prices,
        )
        self.append(CATALOGUE_STREAM, told)


def question(policy: Policy) -> RouteQuestion:
    facts = RequestFacts(operation="chat", model="m", input_tokens_bound=1000, output_tokens_bound=100)
    return RouteQuestion(facts=facts, policy=policy, attempt=1, tried=(), at_us=NOW_US, seed=1)
