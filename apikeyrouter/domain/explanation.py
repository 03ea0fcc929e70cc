"""What was recorded in sentences for people, made from the events alone."""

from apikeyrouter.domain.events import (
    Candidate,
    Event,
    KeyStateChanged,
    Policy,
    ProviderHealthChanged,
    QuotaCorrected,
    QuotaLimitLearned,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
)
from apikeyrouter.domain.money_explanation import amount_held, told_of_money, too_dear
from apikeyrouter.domain.scoring import EXHAUSTION_WEIGHT
from apikeyrouter.domain.windows import SECOND_US

CRITERIA = ("cost", "reliability", "fairness", "latency", "quality", "headroom")

SPARED = {
    "other_key_pinned": "another key is pinned",
    "provider_just_failed": "its provider just failed this request",
    "provider_recovering": "its provider is back on trial and has a call out",
    "on_trial": "it is back on trial and has a call out",
    "running_dry": "it would run dry before its window gives back",
}
"""Why a key that could have served was passed over in favour of others."""

EXCLUDED = {
    "key_throttled": "it rests after a refusal",
    "key_exhausted": "its provider says that its quota is gone",
    "key_recovering": "its quota just came back",
    "key_draining": "it is being drained",
    "key_disabled": "it is disabled",
    "key_invalid": "its provider rejected it",
    "key_revoked": "it was revoked",
    "provider_down": "its provider is down",
    "already_tried": "it was tried for this request",
    "max_concurrency": "it has as many calls out as it may",
    "quota": "not enough of its quota is left",
    "budget": "not enough of a budget is left for what it may cost",
    "price_unknown": "no price is known by which a hard budget could pay; set one, or list the model with it",
    "model_not_offered": "its provider does not offer the model",
    "model_not_allowed_for_key": "it is not for this model",
    "other_provider": "another provider was asked for",
    "capability_missing": "the model lacks what the request needs",
}
"""Why a key could not serve; constraints of a policy say it by their names."""

_WAITS = {
    "behind_others": "others wait already",
    "no_key_available": "no key was free",
    "every_key_tried": "every key was tried",
}
_SOURCES = {
    "learned_from_headers": "the headers of an answer",
    "learned_from_refusal": "repeated refusals, as a guess that grows back,",
}


def explain(decision: RouteDecided | RouteRefused | RouteDeferred) -> str:
    """Say what was decided and why."""
    match decision:
        case RouteDecided():
            parts = (
                _choice(decision),
                _room(decision.chosen),
                _rivalry(decision),
                _reservation(decision),
                told_of_money(decision),
            )
            return " ".join(part for part in parts if part) + _exclusions(decision.excluded)
        case RouteRefused():
            reason, model = decision.reason, decision.facts.model
            if decision.shortfall is not None:
                return too_dear(decision, decision.shortfall)
            told = f"Refused ({reason}): no key may serve {model}.{_return(decision)}"
            return told + _exclusions(decision.excluded)
        case RouteDeferred():
            return _wait(decision) + _exclusions(decision.excluded)


def consequence(event: Event) -> str | None:
    """Say what became of limits, keys and providers while requests passed; None for any other event."""
    match event:
        case QuotaLimitLearned():
            models = f" of {', '.join(event.models)}" if event.models else ""
            return (
                f"Learned from {_SOURCES.get(event.source, event.source)} that key {event.key_id} is allowed"
                f" {event.limit:,} {_words(event.dimension)} a {event.unit}{models}."
            )
        case QuotaCorrected():
            told = f"its provider says that {event.remaining:,} remain"
            return f"Somebody else uses {event.account} as well: {told}."
        case KeyStateChanged():
            return f"The key is {event.to_state} ({event.trigger}){_rest(event)}."
        case ProviderHealthChanged():
            return f"Provider {event.provider_id} is {event.to_health} ({event.trigger}){_rest(event)}."
    return None


def _choice(decision: RouteDecided) -> str:
    chosen, policy = decision.chosen, decision.policy
    failed = decision.attempt - 1
    again = f" after {failed} failed attempt{'s' if failed > 1 else ''}" if failed else ""
    return (
        f"Chose key {chosen.key_id} of {chosen.provider_id} for {decision.facts.model}{again}: highest score "
        f"{chosen.total:.3f} for objective {policy.objective} among {decision.eligible} eligible."
    )


def _room(chosen: Candidate) -> str:
    """Tell what the request leaves of the tightest quota, where there is one."""
    if chosen.quota_ref is None:
        return ""
    left = chosen.headroom / (1.0 - chosen.exhaustion * EXHAUSTION_WEIGHT)
    return (
        f"It leaves {left:.0%} of its tightest quota; one runs out before it is given back with probability"
        f" {chosen.exhaustion:.2f}."
    )


def _rivalry(decision: RouteDecided) -> str:
    if not decision.others:
        return ""
    rival = decision.others[0]
    if rival.total == decision.chosen.total:
        return f"Key {rival.key_id} scored the same; the recorded seed decided."
    criterion = decisive_criterion(decision.chosen, rival, decision.policy)
    ours, theirs = getattr(decision.chosen, criterion), getattr(rival, criterion)
    return (
        f"Runner-up {rival.key_id} ({rival.total:.3f}) lost on {criterion}: {theirs:.3f} against {ours:.3f}."
    )


def decisive_criterion(chosen: Candidate, rival: Candidate, policy: Policy) -> str:
    """Name the criterion that contributed most to the difference between two candidates."""

    def contribution(criterion: str) -> float:
        weight: float = getattr(policy, criterion)
        lead: float = getattr(chosen, criterion) - getattr(rival, criterion)
        return weight * lead

    return max(CRITERIA, key=contribution)


def _reservation(decision: RouteDecided) -> str:
    if not decision.reserved:
        return ""
    held = ", ".join(f"{amount_held(one)} of {one.account}" for one in decision.reserved)
    return f"Reserved: {held}."


def _return(refused: RouteRefused) -> str:
    if refused.retry_at_us is None:
        return ""
    return f" A key is expected back in {_duration(refused.retry_at_us - refused.at_us)}."


def _wait(deferred: RouteDeferred) -> str:
    why = _WAITS.get(deferred.reason, deferred.reason)
    most = _duration(deferred.wait_until_us - deferred.at_us)
    back = ""
    if deferred.retry_at_us is not None:
        back = f"; a key is expected back in {_duration(deferred.retry_at_us - deferred.at_us)}"
    return (
        f"Deferred ({deferred.reason}): {why}, so the request for {deferred.facts.model} waits, at most"
        f" {most}{back}."
    )


def _exclusions(excluded: dict[str, int]) -> str:
    refused = {rule: count for rule, count in excluded.items() if rule not in SPARED}
    spared = {rule: count for rule, count in excluded.items() if rule in SPARED}
    told = ""
    if refused:
        told += f" Excluded: {_counted(refused, EXCLUDED)}."
    if spared:
        told += f" Spared for others: {_counted(spared, SPARED)}."
    return told


def _counted(rules: dict[str, int], reasons: dict[str, str]) -> str:
    return ", ".join(
        f"{count} by {rule}" + (f" ({reasons[rule]})" if rule in reasons else "")
        for rule, count in sorted(rules.items())
    )


def _rest(changed: KeyStateChanged | ProviderHealthChanged) -> str:
    return "" if changed.until_us is None else f" for {_duration(changed.until_us - changed.at_us)}"


def _duration(us: int) -> str:
    return f"{max(us, 0) / SECOND_US:,.1f} s"


def _words(dimension: str) -> str:
    return dimension.replace("_", " ")
