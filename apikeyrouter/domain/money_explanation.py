"""What budgets had to do with a decision, in sentences."""

from apikeyrouter.domain.events import Reserved, RouteDecided, RouteRefused, Shortfall, budget_stream
from apikeyrouter.domain.pricing import dollars
from apikeyrouter.domain.windows import SECOND_US, instant

_OF_BUDGETS = budget_stream("")


def amount_held(one: Reserved) -> str:
    """Write what is reserved of an account, in its own unit."""
    return dollars(one.amount) if one.account.startswith(_OF_BUDGETS) else f"{one.amount:,}"


def told_of_money(decision: RouteDecided) -> str:
    """Tell what budgets changed about a choice, beside what is reserved of them; mostly nothing."""
    told = []
    if decision.chosen.model is not None:
        told.append(f"It is asked for {decision.chosen.model} instead of {decision.facts.model}.")
    if decision.over_budget:
        told.append(f"It may run over the soft budget {', '.join(decision.over_budget)}.")
    if decision.output_tokens_capped is not None:
        told.append(
            f"Its answer may have {decision.output_tokens_capped:,} tokens at most, since a hard budget"
            " needs a bound and the request set none."
        )
    return " ".join(told)


def too_dear(refused: RouteRefused, shortfall: Shortfall) -> str:
    """Say which budget a request does not fit into, how much remains of it, and when it would fit."""
    whose = shortfall.scope if shortfall.scope_id is None else f"{shortfall.scope} {shortfall.scope_id}"
    needed, limit = dollars(shortfall.needed_nano_usd), dollars(shortfall.limit_nano_usd)
    remaining, fits_at_us = dollars(shortfall.remaining_nano_usd), shortfall.fits_at_us
    when = "Time alone gives nothing back."
    if fits_at_us is not None:
        seconds = max(fits_at_us - refused.at_us, 0) / SECOND_US
        when = f"It would fit in {seconds:,.1f} s, at {instant(fits_at_us)}."
    return (
        f"Refused ({refused.reason}): the request for {refused.facts.model} may cost up to {needed}, and of"
        f" the {limit} of budget {shortfall.budget_id} ({whose}) {remaining} remain. {when}"
    )
