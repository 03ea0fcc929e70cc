"""Metrics as one more fold over the log: live batches and replayed history are counted alike."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from apikeyrouter.adapters.ambient import SystemClock
from apikeyrouter.adapters.telemetry.names import (
    APPEND_BOUNDS_US,
    CHOSEN,
    DURATION_BOUNDS_US,
    GAVE_UP,
    NO_FAILURE,
    OTHER,
    OUTCOMES,
    SERVED,
    WAIT_BOUNDS_US,
    WAIT_OUTCOMES,
)
from apikeyrouter.adapters.telemetry.standing import NOTHING_STANDS, Standing
from apikeyrouter.adapters.telemetry.tallies import CappedLabels, Consumption, Histogram
from apikeyrouter.application.ports import Clock
from apikeyrouter.domain.events import (
    AttemptFailed,
    Event,
    KeyRegistered,
    KeyRevoked,
    KeyStateChanged,
    ProviderRegistered,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
)
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.limits import (
    METRICS_CACHE_US,
    MOST_METRIC_BUDGETS,
    MOST_METRIC_MODELS,
    MOST_METRIC_PROVIDERS,
    MOST_METRIC_REASONS,
)


class Served(NamedTuple):
    """What a request is counted under."""

    operation: str
    provider_id: str
    model: str


class Metrics:
    """Counts folded from events. `follow` runs in one thread; `render` may run in another."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.head_position = 0
        self.decisions: Counter[tuple[str, str]] = Counter()
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.budget_refusals: Counter[tuple[str, str]] = Counter()
        self.outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.consumption: dict[Served, Consumption] = {}
        self.failed_us: dict[tuple[Served, str], Histogram] = {}
        self.appends_us = Histogram(APPEND_BOUNDS_US)
        self.open_requests: dict[str, Served] = {}
        self.waiting_since_us: dict[str, int] = {}
        self.waits_us = {outcome: Histogram(WAIT_BOUNDS_US) for outcome in WAIT_OUTCOMES}
        self.key_states: dict[str, str] = {}
        self.provider_kinds: dict[str, str] = {}
        self._models = CappedLabels(MOST_METRIC_MODELS)
        self._providers = CappedLabels(MOST_METRIC_PROVIDERS)
        self._reasons = CappedLabels(MOST_METRIC_REASONS)
        self._budgets = CappedLabels(MOST_METRIC_BUDGETS)
        self._clock = clock or SystemClock()
        self._standing = NOTHING_STANDS
        self._rendered = b""
        self._stale_at_us = 0

    def follow(self, batch: Sequence[Recorded]) -> None:
        """Take in events; those up to the head were counted before, so history and live may overlap."""
        for position, stream, _version, event in batch:
            if position <= self.head_position:
                continue
            self.head_position = position
            fold = _FOLDS.get(type(event))
            if fold is not None:
                fold(self, stream, event)

    def observe_append(self, elapsed_us: int) -> None:
        """Count how long an append took to become durable."""
        self.appends_us.observe(elapsed_us)

    @property
    def is_stale(self) -> bool:
        """True if the text is to be rendered anew."""
        return not self._rendered or self._clock.elapsed_us() >= self._stale_at_us

    def render(self, standing: Standing | None = None) -> bytes:
        """Return Prometheus' text, at most a second old; what stands is read from the state by the caller."""
        if standing is not None:
            self._standing = standing
        if self.is_stale:
            now_us = self._clock.elapsed_us()
            from apikeyrouter.adapters.telemetry.exposition import (  # noqa: PLC0415 - only where metrics are asked for
                exposition,
            )

            self._rendered = exposition(self, self._standing)
            self._stale_at_us = now_us + METRICS_CACHE_US
        return self._rendered

    def consumed_by(self, served: Served) -> Consumption:
        """Return the counters of a model; those without a place of their own share one."""
        known = self.consumption.get(served)
        if known is not None:
            return known
        provider_id = self._providers.admit(served.provider_id)
        place = Served(served.operation, provider_id, self._models.known(served.model))
        return self.consumption.setdefault(place, Consumption())

    def give_place(self, model: str) -> None:
        """Let a model that served have a name; clients can ask for any number of others."""
        self._models.admit(model)

    def count_decision(self, reason: str, objective: str) -> None:
        """Count a decision or a refusal."""
        self.decisions[self._reasons.admit(reason), self._reasons.admit(objective)] += 1

    def count_shortfall(self, budget_id: str, scope: str) -> None:
        """Count a request that a budget had no room for."""
        self.budget_refusals[self._budgets.admit(budget_id), scope] += 1

    def count_attempt(self, provider_id: str, failure_class: str) -> None:
        """Count an upstream call that ended."""
        self.attempts[self._providers.admit(provider_id), self._reasons.admit(failure_class)] += 1

    def end_wait(self, stream: str, outcome: str, at_us: int) -> None:
        """Count how long a request waited, if it did."""
        since_us = self.waiting_since_us.pop(stream, None)
        if since_us is not None:
            self.waits_us[outcome].observe(max(at_us - since_us, 0))

    def time_failure(self, served: Served, failure: str, elapsed_us: int) -> None:
        """Count how long a failed attempt took; a model that never served has no place of its own."""
        provider_id = self._providers.known(served.provider_id)
        named = Served(served.operation, provider_id, self._models.known(served.model))
        place = (named, self._reasons.known(failure))
        histogram = self.failed_us.get(place)
        if histogram is None:
            histogram = self.failed_us[place] = Histogram(DURATION_BOUNDS_US)
        histogram.observe(elapsed_us)


def _key_registered(metrics: Metrics, stream: str, _event: KeyRegistered) -> None:
    metrics.key_states[stream] = KeyState.Available.value


def _key_state_changed(metrics: Metrics, stream: str, event: KeyStateChanged) -> None:
    metrics.key_states[stream] = event.to_state


def _key_revoked(metrics: Metrics, stream: str, _event: KeyRevoked) -> None:
    metrics.key_states[stream] = KeyState.Revoked.value


def _provider_registered(metrics: Metrics, _stream: str, event: ProviderRegistered) -> None:
    metrics.provider_kinds[event.provider_id] = event.kind


def _route_decided(metrics: Metrics, stream: str, event: RouteDecided) -> None:
    metrics.count_decision(CHOSEN, event.policy.objective)
    facts = event.facts
    metrics.open_requests[stream] = Served(facts.operation, event.chosen.provider_id, facts.model)
    metrics.end_wait(stream, SERVED, event.at_us)


def _route_deferred(metrics: Metrics, stream: str, event: RouteDeferred) -> None:
    metrics.waiting_since_us.setdefault(stream, event.at_us)


def _route_refused(metrics: Metrics, stream: str, event: RouteRefused) -> None:
    metrics.count_decision(event.reason, event.policy.objective)
    if event.shortfall is not None:
        metrics.count_shortfall(event.shortfall.budget_id, event.shortfall.scope)
    _ended(metrics, stream, "refused", event)


def _attempt_failed(metrics: Metrics, stream: str, event: AttemptFailed) -> None:
    metrics.count_attempt(event.provider_id, event.failure)
    served = metrics.open_requests.get(stream) or Served(OTHER, event.provider_id, OTHER)
    metrics.time_failure(served, event.failure, event.elapsed_us)


def _request_completed(metrics: Metrics, stream: str, event: RequestCompleted) -> None:
    metrics.count_attempt(event.provider_id, NO_FAILURE)
    served = _ended(metrics, stream, "completed", event) or Served(OTHER, event.provider_id, event.model)
    metrics.give_place(served.model)
    consumption = metrics.consumed_by(served)
    consumption.settle(event.input_tokens, event.output_tokens, event.cost_nano_usd)
    consumption.durations_us.observe(event.elapsed_us)


def _request_failed(metrics: Metrics, stream: str, event: RequestFailed) -> None:
    served = _ended(metrics, stream, "failed", event)
    if served is not None and (event.input_tokens or event.output_tokens):
        consumption = metrics.consumed_by(served)
        consumption.settle(event.input_tokens, event.output_tokens, event.cost_nano_usd)


def _request_cancelled(metrics: Metrics, stream: str, event: RequestCancelled) -> None:
    metrics.count_attempt(event.provider_id, "cancelled")
    served = _ended(metrics, stream, "cancelled", event) or Served(OTHER, event.provider_id, OTHER)
    metrics.consumed_by(served).settle(event.input_tokens, event.output_tokens, event.cost_nano_usd)


def _request_released(metrics: Metrics, stream: str, event: RequestReleased) -> None:
    _ended(metrics, stream, "released", event)


def _ended(metrics: Metrics, stream: str, outcome: str, end: Event) -> Served | None:
    metrics.outcomes[outcome] += 1
    metrics.end_wait(stream, GAVE_UP, end.at_us)
    return metrics.open_requests.pop(stream, None)


_FOLDS: dict[type[Event], Callable[[Metrics, str, Any], None]] = {
    KeyRegistered: _key_registered,
    KeyStateChanged: _key_state_changed,
    KeyRevoked: _key_revoked,
    ProviderRegistered: _provider_registered,
    RouteDecided: _route_decided,
    RouteDeferred: _route_deferred,
    RouteRefused: _route_refused,
    AttemptFailed: _attempt_failed,
    RequestCompleted: _request_completed,
    RequestFailed: _request_failed,
    RequestCancelled: _request_cancelled,
    RequestReleased: _request_released,
}
