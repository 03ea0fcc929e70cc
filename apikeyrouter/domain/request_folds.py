"""How the fold takes in what happens to requests: what they hold while they are open, and what they leave."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from apikeyrouter.domain.budgets import Purse
from apikeyrouter.domain.events import (
    AttemptFailed,
    Event,
    EventRef,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
)
from apikeyrouter.domain.failures import KeyEffect
from apikeyrouter.domain.input_bounds import body_bound
from apikeyrouter.domain.keys import OUT_OF_SERVICE, Key
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.domain.provider_health import ProviderHealth
from apikeyrouter.domain.quotas import Amounts, Share
from apikeyrouter.domain.settlement import BOUNDED, MEASURED, NONE

if TYPE_CHECKING:
    from apikeyrouter.domain.state import RouterState

REFUSALS_KEPT = 8
"""How many times of the latest refusals by rate are kept for each key, to guess its limit from."""

PROCESS_DIED = "process_died"
"""The trigger of a release by recovery: nobody knows what the dead process had sent."""


class OpenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has not ended: its last version, and the key that a call is out with, if any.

    `row` is that of the key last called, -1 while there was none, and `decision` what chose it; `share` is
    what it holds or held of quotas, `purse` what of budgets.
    """

    version: int
    attempt: int = 0
    key_id: str | None = None
    row: int = -1
    material_version: int = 0
    model: str = ""
    cost_bound_nano_usd: int = 0
    decision: RouteDecided | None = None
    share: Share | None = None
    purse: Purse | None = None


def _route_decided(state: "RouterState", stream: str, version: int, event: RouteDecided) -> None:
    if state.payloads.capturing:
        state.payloads.decided(stream, event)
    key = state.keys[event.chosen.key_id]
    ref = EventRef(stream, version)
    state.columns.dispatch(key.row, event.at_us, ref)
    state.open_requests[stream] = OpenRequest(
        version=version,
        attempt=event.attempt,
        key_id=key.key_id,
        row=key.row,
        material_version=key.material_version,
        model=event.model,
        cost_bound_nano_usd=event.chosen.cost_bound_nano_usd or 0,
        decision=event,
        share=state.quotas.reserve(event.reserved, state.latest_us, ref) if event.reserved else None,
        purse=state.budgets.reserve(event.reserved, state.latest_us, ref) if event.reserved else None,
    )


def _route_deferred(state: "RouterState", stream: str, version: int, event: RouteDeferred) -> None:
    known = state.open_requests.get(stream) or OpenRequest(version=version)
    state.open_requests[stream] = msgspec.structs.replace(known, version=version, attempt=event.attempt)


def _attempt_failed(state: "RouterState", stream: str, version: int, event: AttemptFailed) -> None:
    request = state.open_requests.get(stream)
    if request is None:
        return
    ref = EventRef(stream, version)
    state.columns.finish(request.row, ref)
    if request.share is not None:
        _settle_failed(state, request.share, event, ref)
    if request.purse is not None:
        state.budgets.settle(request.purse, event.charged_nano_usd, ref)
    if event.charged_nano_usd:
        _reconcile(state, request, BOUNDED, event.charged_nano_usd)
    state.open_requests[stream] = msgspec.structs.replace(request, version=version, key_id=None)
    if event.effect == KeyEffect.DenyModel:
        state.deny_model(request.model, request.row)
    elif event.effect != KeyEffect.Nothing:
        state.columns.fail(request.row, event.at_us, ref)
    if event.effect == KeyEffect.Throttle:
        state.refusals_us.setdefault(event.key_id, deque(maxlen=REFUSALS_KEPT)).append(event.at_us)
    key = state.keys[event.key_id]
    if key.material_version == request.material_version:
        state.keys[event.key_id] = _suffered(key, event)
    if event.blames_provider:
        health = state.health.get(event.provider_id) or ProviderHealth(provider_id=event.provider_id)
        state.health[event.provider_id] = health.failed(event.key_id)


def _suffered(key: Key, event: AttemptFailed) -> Key:
    """Return what a key remembers of a failure in whatever state: one out of service may come back."""
    match event.effect:
        case KeyEffect.Strike:
            return msgspec.structs.replace(key, strikes=key.strikes + 1)
        case KeyEffect.Invalidate:
            return msgspec.structs.replace(key, rejected=True)
        case KeyEffect.Throttle | KeyEffect.Exhaust if key.state in OUT_OF_SERVICE:
            rests = KeyState.Throttled if event.effect == KeyEffect.Throttle else KeyState.Exhausted
            rest = (rests, event.at_us + (event.retry_after_us or 0))
            if key.rest is None or key.rest[1] < rest[1]:
                return msgspec.structs.replace(key, rest=rest)
    return key


def _settle_failed(state: "RouterState", share: Share, event: AttemptFailed, ref: EventRef) -> None:
    """Count a refused call as one request and no tokens; one that was never sent as nothing."""
    if event.sent:
        state.quotas.settle(share, Amounts.of(0, 0), state.latest_us, ref)
    else:
        state.quotas.release(share, ref)


def _request_completed(state: "RouterState", stream: str, version: int, event: RequestCompleted) -> None:
    request = state.open_requests.get(stream)
    if request is None:
        return
    ref = EventRef(stream, version)
    _close(state, stream, ref)
    if request.share is not None:
        state.quotas.settle(request.share, _consumed(request, event), state.latest_us, ref)
    if request.purse is not None:
        state.budgets.settle(request.purse, event.cost_nano_usd or 0, ref)
    _reconcile(state, request, event.usage_source, event.cost_nano_usd)
    if event.usage_source == MEASURED and request.decision is not None:
        state.expectations.observe(request.model, request.decision.facts, event)
    if state.denied:
        state.allow_model(request.model, request.row)
    state.columns.succeed(request.row, event.at_us, event.first_byte_us, ref)
    key = state.keys[event.key_id]
    if key.strikes or key.on_trial:
        on_trial = key.state is KeyState.Recovering
        state.keys[event.key_id] = msgspec.structs.replace(key, strikes=0, on_trial=on_trial)
        state.columns.set_trial(key.row, on_trial=on_trial)
    health = state.health.get(event.provider_id)
    if health is not None and health.failures:
        state.health[event.provider_id] = health.succeeded()


def _request_cancelled(state: "RouterState", stream: str, version: int, event: RequestCancelled) -> None:
    _end(state, EventRef(stream, version), event)


def _request_failed(state: "RouterState", stream: str, version: int, event: RequestFailed) -> None:
    _end(state, EventRef(stream, version), event)


def _request_released(state: "RouterState", stream: str, version: int, event: RequestReleased) -> None:
    """Free what a request held; what a dead process may have sent keeps counting as if it was consumed."""
    request, ref = state.open_requests.get(stream), EventRef(stream, version)
    if request is not None and request.share is not None:
        end = state.quotas.forfeit if event.trigger == PROCESS_DIED else state.quotas.release
        end(request.share, ref)
    if request is not None and request.purse is not None:
        state.budgets.settle(request.purse, event.charged_nano_usd, ref)
    if request is not None and event.charged_nano_usd:
        _reconcile(state, request, BOUNDED, event.charged_nano_usd)
    _ended(state, ref)


def _request_refused(state: "RouterState", stream: str, version: int, _event: RouteRefused) -> None:
    _ended(state, EventRef(stream, version))


def _end(state: "RouterState", ref: EventRef, event: RequestCancelled | RequestFailed) -> None:
    """Settle a request that did not complete; a failed attempt has settled all but what came late."""
    request, nano_usd = state.open_requests.get(ref.stream), event.cost_nano_usd or 0
    if request is None:
        return
    if request.share is not None:
        settle = state.quotas.consume if request.key_id is None else state.quotas.settle
        settle(request.share, _consumed(request, event), state.latest_us, ref)
    if request.purse is not None:
        if request.key_id is not None:
            state.budgets.settle(request.purse, nano_usd, ref)
        elif nano_usd:
            state.budgets.spend_more(request.purse, nano_usd, ref)
    if event.usage_source != NONE:
        _reconcile(state, request, event.usage_source, event.cost_nano_usd)
    _close(state, ref.stream, ref)


def _consumed(request: OpenRequest, event: RequestCompleted | RequestCancelled | RequestFailed) -> Amounts:
    """Return what quotas lose: where nobody measured, no more input than they held."""
    input_tokens = event.input_tokens
    if event.usage_source == BOUNDED and request.decision is not None:
        input_tokens = min(input_tokens, body_bound(request.decision.facts))
    return Amounts.of(input_tokens, event.output_tokens)


def _reconcile(state: "RouterState", request: OpenRequest, usage_source: str, nano_usd: int | None) -> None:
    if request.decision is not None:
        state.reconciliation.settle(request.decision, usage_source, nano_usd)


def _ended(state: "RouterState", ref: EventRef) -> None:
    if ref.stream in state.open_requests:
        _close(state, ref.stream, ref)


def _close(state: "RouterState", stream: str, ref: EventRef) -> None:
    request = state.open_requests.pop(stream)
    if request.key_id is not None:
        state.columns.finish(request.row, ref)


REQUEST_FOLDS: dict[type[Event], Callable[["RouterState", str, int, Any], None]] = {
    RouteDecided: _route_decided,
    RouteDeferred: _route_deferred,
    RouteRefused: _request_refused,
    AttemptFailed: _attempt_failed,
    RequestCompleted: _request_completed,
    RequestFailed: _request_failed,
    RequestCancelled: _request_cancelled,
    RequestReleased: _request_released,
}
