"""Errors for callers, made from what the record says."""

from apikeyrouter.application.passage import Passage
from apikeyrouter.domain.events import RouteRefused, Shortfall
from apikeyrouter.domain.explanation import explain
from apikeyrouter.domain.failures import Failure, Handling, KeyEffect, NextTry
from apikeyrouter.domain.models.system_error import (
    BudgetExceededError,
    NoEligibleKeysError,
    NotFoundError,
    PriceUnknownError,
    ProviderError,
    SystemError,  # noqa: A004 - the published name
)
from apikeyrouter.domain.pricing import usd
from apikeyrouter.domain.routing import PRICE_UNKNOWN
from apikeyrouter.domain.windows import SECOND_US, moment

FULL = frozenset({"key_exhausted", "max_concurrency", "quota"})
"""The rules by which a key may give no more for now: whoever is refused by one of them asks for too much."""
PROVIDER_DOWN, RESTING = "provider_down", "key_throttled"


def refusal(passage: Passage, refused: RouteRefused) -> SystemError:
    """Tell why no key was chosen: after failed attempts the last failure is what the caller should see."""
    if passage.last_failure is not None:
        return provider_error(passage, passage.last_failure)
    if refused.reason == "model_not_offered":
        return NotFoundError(
            f"the model {refused.facts.model!r} is not offered by any registered provider",
            code="model_not_found",
            param="model",
            request_id=passage.request_id,
        )
    if refused.shortfall is not None:
        return _over_budget(passage, refused, refused.shortfall)
    if refused.reason == PRICE_UNKNOWN:
        return PriceUnknownError(explain(refused), param="model", request_id=passage.request_id)
    excluded = refused.excluded
    error = NoEligibleKeysError(explain(refused), excluded=excluded, request_id=passage.request_id)
    # Keys of a provider that is down rest from its failures as well, which is not the caller's doing.
    is_down = PROVIDER_DOWN in excluded and not FULL & excluded.keys()
    if is_down:
        error.code = PROVIDER_DOWN
    elif FULL & excluded.keys() or RESTING in excluded:
        error.http_status, error.code = 429, "rate_limit_exceeded"
    if refused.retry_at_us is not None:
        error.retry_after = max(refused.retry_at_us - refused.at_us, 0) / SECOND_US
    return error


def _over_budget(passage: Passage, refused: RouteRefused, shortfall: Shortfall) -> BudgetExceededError:
    fits_at_us = shortfall.fits_at_us
    return BudgetExceededError(
        explain(refused),
        budget_id=shortfall.budget_id,
        limit=usd(shortfall.limit_nano_usd),
        remaining=usd(shortfall.remaining_nano_usd),
        needed=usd(shortfall.needed_nano_usd),
        resets_at=None if fits_at_us is None else moment(fits_at_us),
        retry_after=None if fits_at_us is None else max(fits_at_us - refused.at_us, 0) / SECOND_US,
        request_id=passage.request_id,
    )


def provider_error(passage: Passage, failure: Failure) -> ProviderError:
    """Tell how the upstream failed, without its words except where the caller is at fault."""
    handling = failure.handling
    error = ProviderError(
        f"no answer in {passage.attempt} attempts; the last: {failure.failure_class} ({handling.reason})",
        failure=failure.failure_class,
        status=failure.status if failure.body is not None and failure.status else handling.status,
        body=failure.body,
        code=handling.code,
        retry_after=None if not failure.wait_us else failure.wait_us / SECOND_US,
        request_id=passage.request_id,
    )
    error.retryable = _may_pass(handling)
    return error


def _may_pass(handling: Handling) -> bool:
    """Tell whether the same request may fare better in a moment: gone quota and rejected keys do not."""
    passes = handling.blames_provider or handling.effect is KeyEffect.Throttle
    return passes or handling.next_try is NextTry.SameKey
