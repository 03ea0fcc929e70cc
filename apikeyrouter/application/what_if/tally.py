"""What a run of events comes to: money, refusals, failures, who served. One count for before and after."""

from collections import Counter

import msgspec

from apikeyrouter.domain.events import (
    AttemptFailed,
    Event,
    KeyStateChanged,
    ProviderHealthChanged,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
)
from apikeyrouter.domain.failures import FailureClass
from apikeyrouter.domain.models.api_key import KeyState

ENDED = (RequestCompleted, RequestFailed, RequestCancelled)


class Served(msgspec.Struct):
    """What one key or provider did."""

    chosen: int = 0
    completed: int = 0
    failed_attempts: int = 0
    cost_nano_usd: int = 0


class Tally(msgspec.Struct):
    """Counts over the requests of a stretch; `unpriced` ended at a cost that nobody knows.

    `charged_nano_usd` bounds what calls that never answered may cost beside `cost_nano_usd`.
    """

    completed: int = 0
    failed: int = 0
    refused: int = 0
    cancelled: int = 0
    released: int = 0
    deferrals: int = 0
    attempts: int = 0
    failed_attempts: int = 0
    rate_limited: int = 0
    throttled: int = 0
    exhausted: int = 0
    invalid: int = 0
    providers_down: int = 0
    cost_nano_usd: int = 0
    charged_nano_usd: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    elapsed_us: int = 0
    refusals: Counter[str] = msgspec.field(default_factory=Counter)
    failures: Counter[str] = msgspec.field(default_factory=Counter)
    keys: dict[str, Served] = msgspec.field(default_factory=dict)
    providers: dict[str, Served] = msgspec.field(default_factory=dict)

    def count(self, event: Event) -> None:
        """Take in an event."""
        match event:
            case RouteDecided():
                self.attempts += 1
                for served in self._of(event.chosen.key_id, event.chosen.provider_id):
                    served.chosen += 1
            case RequestCompleted():
                self.completed += 1
                self.elapsed_us += event.elapsed_us
                for served in self._of(event.key_id, event.provider_id):
                    served.completed += 1
                    served.cost_nano_usd += event.cost_nano_usd or 0
                self._charge(event)
            case AttemptFailed():
                self._failed_attempt(event)
            case RouteRefused():
                self.refused += 1
                self.refusals[event.reason] += 1
            case RouteDeferred():
                self.deferrals += 1
            case _:
                self._count_rare(event)

    @property
    def mean_elapsed_us(self) -> int | None:
        """Return how long completed requests took on average."""
        return self.elapsed_us // self.completed if self.completed else None

    def _count_rare(self, event: Event) -> None:
        match event:
            case RequestFailed():
                self.failed += 1
                self.failures[event.failure] += 1
                self._charge(event)
            case RequestCancelled():
                self.cancelled += 1
                for served in self._of(event.key_id, event.provider_id):
                    served.cost_nano_usd += event.cost_nano_usd or 0
                self._charge(event)
            case RequestReleased():
                self.released += 1
                self.charged_nano_usd += event.charged_nano_usd
            case KeyStateChanged():
                self.throttled += event.to_state == KeyState.Throttled
                self.exhausted += event.to_state == KeyState.Exhausted
                self.invalid += event.to_state == KeyState.Invalid
            case ProviderHealthChanged():
                self.providers_down += event.to_health == "down"

    def _failed_attempt(self, event: AttemptFailed) -> None:
        self.failed_attempts += 1
        self.charged_nano_usd += event.charged_nano_usd
        self.rate_limited += event.failure == FailureClass.RateLimited
        for served in self._of(event.key_id, event.provider_id):
            served.failed_attempts += 1

    def _charge(self, event: RequestCompleted | RequestFailed | RequestCancelled) -> None:
        self.input_tokens += event.input_tokens
        self.output_tokens += event.output_tokens
        if event.cost_nano_usd is None:
            self.unpriced += 1
        else:
            self.cost_nano_usd += event.cost_nano_usd

    def _of(self, key_id: str, provider_id: str) -> tuple[Served, Served]:
        key, provider = self.keys.get(key_id), self.providers.get(provider_id)
        if key is None:
            key = self.keys[key_id] = Served()
        if provider is None:
            provider = self.providers[provider_id] = Served()
        return key, provider
