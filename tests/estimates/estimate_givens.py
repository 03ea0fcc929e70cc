"""What tests of estimates share: a world whose requests are decided and settled without a provider."""

from worlds import World

from apikeyrouter.domain.events import ModelOffer, RequestCompleted, RequestFacts, RouteDecided
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.routing import decide

USD_A_MILLION = 1_000_000_000
OFFER = ModelOffer(
    model="m", input_nano_usd_per_mtok=2 * USD_A_MILLION, output_nano_usd_per_mtok=10 * USD_A_MILLION
)


def facts(**changes) -> RequestFacts:
    given = {
        "operation": "chat",
        "model": "m",
        "input_tokens_bound": 1_128,
        "body_bytes": 1_000,
        "output_tokens_bound": 4_000,
    }
    return RequestFacts(**{**given, **changes})


def completed(at_us: int, **changes) -> RequestCompleted:
    given = {
        "attempt": 1,
        "key_id": "k",
        "provider_id": "openai",
        "model": "m-2026-01-01",
        "input_tokens": 300,
        "output_tokens": 700,
        "usage_source": "provider",
        "cost_nano_usd": 0,
        "elapsed_us": 1,
        "first_byte_us": 1,
        "response_bytes": 1,
        "response_sha256": "",
    }
    return RequestCompleted(at_us=at_us, **{**given, **changes})


class Shop(World):
    """One provider with one key and one model that has a price."""

    def __init__(self, *offers: ModelOffer) -> None:
        super().__init__()
        self.provider(models=offers or (OFFER,))
        self.key("k")
        self._requests = 0

    def asked(self, **changes) -> RouteQuestion:
        return RouteQuestion(
            facts=facts(**changes), policy=policy_of(None), attempt=1, tried=(), at_us=self.now_us, seed=1
        )

    def decide(self, **changes) -> RouteDecided:
        decision = decide(self.state, self.asked(**changes))
        assert isinstance(decision, RouteDecided), decision
        return decision

    def begin(self, **changes) -> tuple[str, RouteDecided]:
        """Decide and record that, and return the request's stream."""
        self._requests += 1
        stream, decision = f"request-{self._requests}", self.decide(**changes)
        self.append(stream, decision)
        return stream, decision

    def serve(self, *, settled: dict, **changes) -> RouteDecided:
        """Let a request be answered and settled."""
        stream, decision = self.begin(**changes)
        self.append(stream, completed(self.now_us, **settled))
        return decision
