"""Quotas and forecasts as users see them, made from the state at one instant."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from apikeyrouter.domain.accounts import AccountReport, LimitSource
from apikeyrouter.domain.forecasting import THRESHOLDS, Forecast, Uncertainty, Usage, forecast
from apikeyrouter.domain.keys import Key
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.domain.models.quota_state import (
    AccountForecast,
    AccountQuota,
    CapacityEstimate,
    CapacityState,
    Dimension,
    ExhaustionPrediction,
    QuotaState,
)
from apikeyrouter.domain.state import RouterState
from apikeyrouter.domain.windows import moment

REFUSED_BY_PROVIDER = "the provider refused the key because its quota is gone"
_SEVERITY = [threshold.state for threshold in THRESHOLDS]
_TIMES = ("exhausted_at", "earliest_at", "latest_at")
_FORESEEN = ("capacity_state", "uncertainty", "probability", *_TIMES, "horizon_ends_at", "method")


class Standing(NamedTuple):
    """An account at an instant: what is used of it, what is foreseen, and on how much that stands."""

    key_ids: tuple[str, ...]
    provider_id: str
    limit: int
    remaining: int
    report: AccountReport
    forecast: Forecast
    known: Uncertainty
    experience: tuple[float, float]
    scored: tuple[int, float | None]


class Outlook:
    """The accounts of a state at an instant. Each is looked at once, when it is first asked for."""

    def __init__(self, state: RouterState, now_us: int) -> None:
        self._state = state
        self._now_us = max(now_us, state.latest_us)
        self._standings: dict[int, Standing | None] = {}
        self._drawers: dict[int, list[str]] = {}
        for key_id, limits in state.quotas.limits.items():
            for limit in limits:
                row = state.quotas.accounts.row_of(limit.account_id)
                if row is not None:
                    self._drawers.setdefault(row, []).append(key_id)

    def standings(self, after: int = 0, most: int | None = None) -> Iterator[Standing]:
        """Yield the accounts that have a limit, in the order in which they were opened."""
        last = None if most is None else after + most
        for row in sorted(self._drawers)[after:last]:
            standing = self._standing(row)
            if standing is not None:
                yield standing

    def quota_state(self, key: Key) -> QuotaState:
        """Tell how a key stands."""
        standings = self._of_key(key)
        tightest = min(standings, key=_tightness, default=None)
        state = QuotaState(
            key_id=key.key_id,
            provider_id=key.provider_id,
            accounts=tuple(account_quota(standing) for standing in standings),
        )
        if tightest is not None:
            state = state.model_copy(update=_headline(tightest))
        if self._is_exhausted(key):
            gone = {"capacity_state": CapacityState.Exhausted, "reset_at": _instant(key.until_us)}
            return state.model_copy(update={**gone, "uncertainty": Uncertainty.Exact})
        return state

    def prediction(self, key: Key) -> ExhaustionPrediction:
        """Tell whether and when a key runs out."""
        standings = self._of_key(key)
        likeliest = max(standings, key=_likelihood, default=None)
        prediction = ExhaustionPrediction(
            key_id=key.key_id,
            provider_id=key.provider_id,
            accounts=tuple(account_forecast(standing) for standing in standings),
        )
        if self._is_exhausted(key):
            return prediction.model_copy(update=self._gone(key))
        if likeliest is not None:
            told = account_forecast(likeliest)
            return prediction.model_copy(update={name: getattr(told, name) for name in _FORESEEN})
        return prediction

    def _of_key(self, key: Key) -> list[Standing]:
        quotas = self._state.quotas
        rows = (quotas.accounts.row_of(limit.account_id) for limit in quotas.limits.get(key.key_id, ()))
        standings = (self._standing(row) for row in rows if row is not None)
        return [standing for standing in standings if standing is not None]

    def _standing(self, row: int) -> Standing | None:
        if row not in self._standings:
            self._standings[row] = self._look_at(row)
        return self._standings[row]

    def _look_at(self, row: int) -> Standing | None:
        report = self._state.quotas.accounts.report(row, self._now_us)
        if report.limit is None or report.remaining is None:
            return None
        key_ids, demand = self._drawers[row], self._state.quotas.demand
        known = _known(report)
        usage = Usage(
            limit=float(report.limit),
            used=float(report.settled + report.reserved),
            resets_at_us=report.ends_us if report.window.kind == "fixed" else None,
            known=known,
            recovering=any(self._is_recovering(self._state.keys[key_id]) for key_id in key_ids),
        )
        return Standing(
            key_ids=tuple(key_ids),
            provider_id=self._state.keys[key_ids[0]].provider_id,
            limit=report.limit,
            remaining=report.remaining,
            report=report,
            forecast=forecast(demand, row, usage, self._now_us),
            known=known,
            experience=demand.experience(row),
            scored=self._state.quotas.scores.of(row),
        )

    def _gone(self, key: Key) -> dict[str, object]:
        now = moment(self._now_us)
        return {
            "capacity_state": CapacityState.Exhausted,
            "uncertainty": Uncertainty.Exact,
            "probability": 1.0,
            **dict.fromkeys(_TIMES, now),
            "horizon_ends_at": _instant(key.until_us),
            "method": REFUSED_BY_PROVIDER,
        }

    def _is_exhausted(self, key: Key) -> bool:
        return key.state is KeyState.Exhausted and not self._is_over(key)

    def _is_recovering(self, key: Key) -> bool:
        """Tell whether a key's quota was gone lately; the end of a rest is recorded when the key is asked."""
        return key.state is KeyState.Recovering or (key.state is KeyState.Exhausted and self._is_over(key))

    def _is_over(self, key: Key) -> bool:
        return key.until_us is not None and key.until_us <= self._now_us


def account_quota(standing: Standing) -> AccountQuota:
    """Show an account."""
    report = standing.report
    return AccountQuota(
        account_id=report.account_id,
        provider_id=standing.provider_id,
        key_ids=standing.key_ids,
        dimension=report.dimension,
        models=report.models,
        window=report.window.unit,
        window_kind=report.window.kind,
        time_zone=report.window.zone,
        limit=standing.limit,
        declared=report.declared,
        source=LimitSource(report.source),
        since=moment(report.since_us),
        settled=report.settled,
        reserved=report.reserved,
        remaining=standing.remaining,
        window_starts_at=moment(report.starts_us),
        window_ends_at=_instant(report.ends_us),
        capacity_state=standing.forecast.capacity_state,
        uncertainty=standing.known,
    )


def account_forecast(standing: Standing) -> AccountForecast:
    """Show what is foreseen for an account."""
    report, foreseen = standing.report, standing.forecast
    requests_seen, comparisons = standing.experience
    return AccountForecast(
        account_id=report.account_id,
        key_ids=standing.key_ids,
        dimension=report.dimension,
        models=report.models,
        window=report.window.unit,
        limit=standing.limit,
        remaining=standing.remaining,
        probability=foreseen.probability,
        exhausted_at=_instant(foreseen.exhausted_at_us),
        earliest_at=_instant(foreseen.earliest_us),
        latest_at=_instant(foreseen.latest_us),
        horizon_ends_at=moment(foreseen.horizon_end_us),
        rate_per_s=foreseen.rate_per_s,
        capacity_state=foreseen.capacity_state,
        uncertainty=foreseen.uncertainty,
        method=foreseen.method,
        requests_seen=requests_seen,
        comparisons=comparisons,
        forecasts_scored=standing.scored[0],
        brier_score=standing.scored[1],
    )


def _headline(standing: Standing) -> dict[str, object]:
    report, known = standing.report, standing.known
    used = report.settled + report.reserved
    return {
        "capacity_state": standing.forecast.capacity_state,
        "uncertainty": known,
        "dimension": report.dimension,
        "remaining_capacity": CapacityEstimate(value=standing.remaining, uncertainty=known),
        "total_capacity": CapacityEstimate(value=standing.limit, uncertainty=known),
        "used_capacity": CapacityEstimate(value=used, uncertainty=known),
        "reset_at": _instant(report.ends_us),
    }


def _known(report: AccountReport) -> Uncertainty:
    """Tell how sure the figures are: a limit may be a guess, and tokens under way are counted at most."""
    if report.source == LimitSource.Refusal:
        return Uncertainty.Estimated
    if report.reserved and report.dimension is not Dimension.Requests:
        return Uncertainty.Bounded
    return Uncertainty.Exact


def _tightness(standing: Standing) -> tuple[int, float, bool, int]:
    """Order by severity; among equals those come first that hold for every model, and give back soon."""
    report, left = standing.report, standing.remaining / standing.limit
    severity = _SEVERITY.index(standing.forecast.capacity_state)
    return severity, left, report.models is not None, report.window.length_us


def _likelihood(standing: Standing) -> tuple[float, float]:
    return standing.forecast.probability, -standing.remaining / standing.limit


def _instant(at_us: int | None) -> datetime | None:
    return None if at_us is None else moment(at_us)
