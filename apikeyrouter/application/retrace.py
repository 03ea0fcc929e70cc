"""One request's way through the state: what each of its events changed for keys, accounts and providers."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from apikeyrouter.application.audit import event_as_data
from apikeyrouter.domain.columns import FAILED, SUCCEEDED
from apikeyrouter.domain.events import Recorded, RouteDecided
from apikeyrouter.domain.state import RouterState

Facts = dict[str, Any]

MOST_FOLLOWING = 64
"""What follows from a request is recorded right behind it: by then all of that has been."""


class Step(msgspec.Struct, frozen=True):
    """One event and the figures that it changed: by name, before and after."""

    recorded: Recorded
    changed: dict[str, tuple[Any, Any]]

    def as_data(self) -> dict[str, Any]:
        """Return the step as JSON types."""
        changed = {name: {"before": old, "after": new} for name, (old, new) in self.changed.items()}
        return {**event_as_data(self.recorded), "changed": changed}


def retrace(events: Iterable[Recorded], stream: str, own: Sequence[Recorded]) -> list[Step]:
    """Fold the log and look at the state before and after each event of a request, and what followed.

    `own` are the request's events; what names one of them as its evidence is a step as well. `events` are the
    log in order, up to `end_of` those.
    """
    wanted = {recorded.position for recorded in own}
    touched = _touched(own)
    state = RouterState()
    steps: list[Step] = []
    for recorded in events:
        if recorded.position not in wanted and not follows(recorded, stream):
            state.evolve(*recorded)
            continue
        before = _figures(state, stream, touched)
        state.evolve(*recorded)
        after = _figures(state, stream, touched)
        steps.append(Step(recorded, _differences(before, after)))
    return steps


def end_of(own: Sequence[Recorded]) -> int:
    """Return the position up to which the log tells all that followed from a request."""
    return own[-1].position + MOST_FOLLOWING


def follows(recorded: Recorded, stream: str) -> bool:
    """Tell whether an event names a request as its evidence."""
    return any(ref.stream == stream for ref in getattr(recorded.event, "evidence", ()))


def _touched(own: Sequence[Recorded]) -> list[tuple[str, str, str]]:
    decided = [recorded.event for recorded in own if isinstance(recorded.event, RouteDecided)]
    return list(dict.fromkeys((one.chosen.key_id, one.chosen.provider_id, one.model) for one in decided))


def _figures(state: RouterState, stream: str, touched: Iterable[tuple[str, str, str]]) -> Facts:
    """Return what is told of the request, and of the keys, accounts and providers that it used."""
    request = state.open_requests.get(stream)
    figures: Facts = {"request.is_open": request is not None}
    if request is not None:
        figures |= {"request.attempt": request.attempt, "request.calling": request.key_id}
    for key_id, provider_id, model in touched:
        figures |= _of_key(state, key_id) | _of_accounts(state, key_id, model)
        health = state.health.get(provider_id)
        figures[f"provider.{provider_id}.health"] = "healthy" if health is None else str(health.health)
        figures[f"provider.{provider_id}.failures"] = 0 if health is None else health.failures
    return figures


def _of_key(state: RouterState, key_id: str) -> Facts:
    key, columns = state.keys.get(key_id), state.columns
    if key is None:
        return {}
    outcomes = columns.outcomes.sums[:, key.row] * columns.outcomes.scale(state.latest_us)
    told = {
        "state": str(key.state),
        "until_us": key.until_us,
        "strikes": key.strikes,
        "on_trial": key.on_trial,
        "in_flight": int(columns.in_flight[key.row]),
        "succeeded_lately": round(float(outcomes[SUCCEEDED]), 3),
        "failed_lately": round(float(outcomes[FAILED]), 3),
    }
    return {f"key.{key_id}.{name}": value for name, value in told.items()}


def _of_accounts(state: RouterState, key_id: str, model: str) -> Facts:
    accounts = state.quotas.accounts
    reports = (accounts.report(row, state.latest_us) for row in state.quotas.rows_for(key_id, model))
    budgets = state.budgets
    return {
        f"quota.{one.account_id}.{name}": getattr(one, name)
        for one in reports
        for name in ("limit", "settled", "reserved")
    } | {
        f"{one.account_id}.{name}": getattr(one, name)
        for one in (budgets.accounts.report(row, state.latest_us) for row in range(len(budgets.by_row)))
        for name in ("limit", "settled", "reserved")
    }


def _differences(before: Facts, after: Facts) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*before, *after])
    pairs = {name: (before.get(name), after.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
