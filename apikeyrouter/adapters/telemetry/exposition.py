"""The metrics in Prometheus' text format."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from apikeyrouter.adapters.telemetry import names
from apikeyrouter.adapters.telemetry.names import MetricName
from apikeyrouter.adapters.telemetry.standing import Standing
from apikeyrouter.adapters.telemetry.tallies import Consumption, Histogram
from apikeyrouter.application.proof.standing import PatrolState, SealStanding, VisitResult
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.domain.provider_health import Health
from apikeyrouter.domain.windows import SECOND_US

if TYPE_CHECKING:
    from apikeyrouter.adapters.telemetry.metrics import Metrics, Served

Labels = tuple[str, ...]
Row = tuple["Served", Consumption]


def exposition(metrics: "Metrics", standing: Standing) -> bytes:
    """Render everything that was counted, and what stands beside it."""
    registry = CollectorRegistry()
    registry.register(_Folded(metrics, standing))
    return generate_latest(registry)


class _Folded(Collector):
    """Hands the registry what the fold holds. Tables are copied at once, as the fold may go on beside."""

    def __init__(self, metrics: "Metrics", standing: Standing) -> None:
        self._metrics = metrics
        self._standing = standing

    def describe(self) -> Iterable[Metric]:
        """Name nothing ahead: the registry is ours alone."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        metrics, rows = self._metrics, list(self._metrics.consumption.items())
        yield _counter(names.DECISIONS, dict(metrics.decisions))
        yield _counter(names.ATTEMPTS, dict(metrics.attempts))
        yield _counter(names.REQUESTS, {(outcome,): n for outcome, n in dict(metrics.outcomes).items()})
        yield _counter(names.TOKENS, _tokens(rows))
        yield _counter(names.SETTLED_NANO_USD, _costs(rows))
        yield _gauge(names.LOG_HEAD_POSITION, {(): metrics.head_position})
        yield _gauge(names.OPEN_REQUESTS, {(): len(metrics.open_requests)})
        yield _gauge(names.KEYS, _keys(metrics))
        yield from _capacity(self._standing)
        yield from _budgets(self._standing)
        yield from _seals(self._standing.seals)
        yield _counter(names.BUDGET_REFUSALS, dict(metrics.budget_refusals))
        yield _gauge(names.WAITING_REQUESTS, {(): len(metrics.waiting_since_us)})
        waits = (((outcome,), histogram) for outcome, histogram in metrics.waits_us.items())
        yield _histogram(names.WAIT_SECONDS, waits, SECOND_US)
        yield _histogram(names.LOG_APPEND_SECONDS, [((), metrics.appends_us)], SECOND_US)
        yield _histogram(names.TOKEN_USAGE, _token_usage(metrics, rows), 1)
        yield _histogram(names.OPERATION_DURATION, _durations(metrics, rows), SECOND_US)


def _tokens(rows: list[Row]) -> Counter[Labels]:
    tokens: Counter[Labels] = Counter()
    for served, consumption in rows:
        tokens[served.provider_id, served.model, names.INPUT] += consumption.input_tokens.total
        tokens[served.provider_id, served.model, names.OUTPUT] += consumption.output_tokens.total
    return tokens


def _costs(rows: list[Row]) -> Counter[Labels]:
    costs: Counter[Labels] = Counter()
    for served, consumption in rows:
        costs[served.provider_id, served.model] += consumption.cost_nano_usd
    return costs


def _keys(metrics: "Metrics") -> dict[Labels, int]:
    """Count keys by state, states without a key included, so that an alert on them has a series."""
    states = Counter(list(metrics.key_states.values()))
    return {(state.value,): states[state.value] for state in KeyState}


def _capacity(standing: Standing) -> Iterator[Metric]:
    health: dict[Labels, int] = {
        (provider_id, state.value): int(state == told)
        for provider_id, told in standing.health.items()
        for state in Health
    }
    yield _gauge(names.PROVIDER_HEALTH, health)
    yield _gauge(names.QUOTA_ACCOUNTS, {(): standing.accounts})
    yield _gauge(names.QUOTA_LIMIT, {quota.labels: quota.limit for quota in standing.quotas})
    yield _gauge(names.QUOTA_REMAINING, {quota.labels: quota.remaining for quota in standing.quotas})


def _budgets(standing: Standing) -> Iterator[Metric]:
    budgets = standing.budgets
    yield _gauge(names.BUDGETS, {(): standing.open_budgets})
    yield _gauge(names.BUDGET_LIMIT, {funds.labels: funds.limit for funds in budgets})
    yield _gauge(names.BUDGET_SPENT, {funds.labels: funds.spent for funds in budgets})
    yield _gauge(names.BUDGET_RESERVED, {funds.labels: funds.reserved for funds in budgets})
    yield _gauge(names.BUDGET_REMAINING, {funds.labels: funds.remaining for funds in budgets})


def _seals(seals: SealStanding | None) -> Iterator[Metric]:
    """Tell of the seals; a log in memory has none, and a node without a witness no visits."""
    if seals is None:
        return
    yield _gauge(names.LOG_SEALED, {(seals.key,): seals.sealed})
    yield _gauge(names.LOG_UNSEALED, {(): seals.unsealed})
    yield from _known(names.CHECKPOINT_AGE, seals.checkpoint_age_us, SECOND_US)
    yield _gauge(names.SEALING_FAILING, {(): int(seals.is_failing)})
    yield _gauge(names.PATROL, {(state.value,): int(state is seals.patrol) for state in PatrolState})
    if seals.witness is not None:
        results: dict[Labels, int] = {
            (seals.witness, one.value): int(one is seals.visit) for one in VisitResult
        }
        yield _gauge(names.WITNESS_VISIT, results)
        yield from _known(names.WITNESS_VISIT_AGE, seals.visit_age_us, SECOND_US)
        yield from _known(names.WITNESS_COSIGNED, seals.cosigned, 1)


def _known(name: MetricName, value: int | None, units: int) -> Iterator[Metric]:
    if value is not None:
        yield _gauge(name, {(): value / units})


def _token_usage(metrics: "Metrics", rows: list[Row]) -> Iterator[tuple[Labels, Histogram]]:
    for served, consumption in rows:
        yield (*_gen_ai(metrics, served), names.INPUT), consumption.input_tokens
        yield (*_gen_ai(metrics, served), names.OUTPUT), consumption.output_tokens


def _durations(metrics: "Metrics", rows: list[Row]) -> Iterator[tuple[Labels, Histogram]]:
    for served, consumption in rows:
        yield (*_gen_ai(metrics, served), ""), consumption.durations_us
    for (served, failure), durations_us in list(metrics.failed_us.items()):
        yield (*_gen_ai(metrics, served), failure), durations_us


def _gen_ai(metrics: "Metrics", served: "Served") -> Labels:
    kind = metrics.provider_kinds.get(served.provider_id, served.provider_id)
    return served.operation, names.GEN_AI_PROVIDERS.get(kind, kind), served.model, served.provider_id


def _counter(name: MetricName, values: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name.name, name.help, labels=name.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _gauge(name: MetricName, values: Mapping[Labels, float]) -> Metric:
    family = GaugeMetricFamily(name.name, name.help, labels=name.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _histogram(name: MetricName, rows: Iterable[tuple[Labels, Histogram]], units: int) -> Metric:
    family = HistogramMetricFamily(name.name, name.help, labels=name.labels)
    for labels, histogram in rows:
        bounds = [_bound(bound / units) for bound in (*histogram.bounds, math.inf)]
        buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
        family.add_metric(labels, buckets, histogram.total / units)
    return family


def _bound(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]  # the library left it so
