"""A decision in a sentence for people, made from the recorded event alone."""

from apikeyrouter.domain.events import Candidate, Policy, RouteDecided, RouteRefused

CRITERIA = ("cost", "reliability", "fairness", "latency", "quality")


def explain(decision: RouteDecided | RouteRefused) -> str:
    """Say what was decided and why."""
    match decision:
        case RouteDecided():
            return f"{_choice(decision)} {_rivalry(decision)}{_exclusions(decision.excluded)}".strip()
        case RouteRefused():
            reason, model = decision.reason, decision.facts.model
            return f"Refused ({reason}): no key may serve {model}.{_exclusions(decision.excluded)}"


def _choice(decision: RouteDecided) -> str:
    chosen, policy = decision.chosen, decision.policy
    failed = decision.attempt - 1
    again = f" after {failed} failed attempt{'s' if failed > 1 else ''}" if failed else ""
    return (
        f"Chose key {chosen.key_id} of {chosen.provider_id} for {decision.facts.model}{again}: highest score "
        f"{chosen.total:.3f} for objective {policy.objective} among {decision.eligible} eligible."
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


def _exclusions(excluded: dict[str, int]) -> str:
    if not excluded:
        return ""
    parts = ", ".join(f"{count} by {rule}" for rule, count in sorted(excluded.items()))
    return f" Excluded: {parts}."
