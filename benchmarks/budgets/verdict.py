"""What the provider's ledger says of a run: what went over which budget, and which refusals need not be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from apikeyrouter.interfaces.scripted_provider import Call
from benchmarks.budgets.crowd import Told
from benchmarks.budgets.plan import KEYS, Ask, HardBudget, Key, Load

GRACE_US = 50_000
"""How long before its beginning and after its end a call may be held: it is on its way then."""
Bound = Callable[[Ask, Key], int]

BY_NAME = {key.name: key for key in KEYS}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Money in nano-USD. `over_by` names the budgets that were overrun, and by how much."""

    answered: int
    refused: int
    failed: int
    first_failure: str
    refused_though_tightest_fits: int
    refused_though_own_fits: int
    limits: int
    billed: int
    over: int
    over_by: dict[str, int]
    worst_percent: float
    left: int
    cpu_ms: float


class _Paid(NamedTuple):
    """A call as budgets see it."""

    ask: Ask
    key: Key
    at_us: int
    ended_us: int
    cost: int


def judge(
    load: Load, told: Sequence[Told], calls: Sequence[Call], own_bound: Bound, cpu_ms: float
) -> Verdict:
    """Weigh what clients were told against what the provider billed."""
    paid = [_paid(load, call) for call in calls if call.user is not None]
    spent = {budget: sum(p.cost for p in paid if budget.pays(p.ask, p.key)) for budget in load.budgets}
    over = {budget: spent[budget] - budget.limit for budget in load.budgets if spent[budget] > budget.limit}
    failures = [one for one in told if one.status != 200 and not one.refused]
    return Verdict(
        answered=sum(one.status == 200 for one in told),
        refused=sum(one.refused for one in told),
        failed=len(failures),
        first_failure=f"{failures[0].status} {failures[0].words}" if failures else "",
        refused_though_tightest_fits=_in_vain(load, told, paid, Ask.tightest_bound),
        refused_though_own_fits=_in_vain(load, told, paid, own_bound),
        limits=sum(budget.limit for budget in load.budgets),
        billed=sum(p.cost for p in paid),
        over=sum(over.values()),
        over_by={f"{budget.scope} {budget.name or ''}".strip(): amount for budget, amount in over.items()},
        worst_percent=max((100 * amount / budget.limit for budget, amount in over.items()), default=0.0),
        left=sum(max(budget.limit - spent[budget], 0) for budget in load.budgets),
        cpu_ms=cpu_ms / len(told),
    )


def _paid(load: Load, call: Call) -> _Paid:
    ask, key = load.asks[int(call.user or 0)], BY_NAME[call.key]
    cost = key.cost(call.input_tokens, call.output_tokens)
    return _Paid(ask, key, call.at_us, call.ended_us or call.at_us, cost)


def _in_vain(load: Load, told: Sequence[Told], paid: Sequence[_Paid], bound: Bound) -> int:
    """Count the refusals of what fits, even if all that is under way should cost its bound."""
    return sum(one.refused and _fits(load, one, paid, bound) for one in told)


def _fits(load: Load, one: Told, paid: Sequence[_Paid], bound: Bound) -> bool:
    return any(
        all(
            _most_spent(budget, one, paid, bound) + bound(one.ask, key) <= budget.limit
            for budget in load.budgets
            if budget.pays(one.ask, key)
        )
        for key in KEYS
    )


def _most_spent(budget: HardBudget, one: Told, paid: Sequence[_Paid], bound: Bound) -> int:
    return sum(
        p.cost if p.ended_us + GRACE_US < one.sent_us else max(p.cost, bound(p.ask, p.key))
        for p in paid
        if p.at_us <= one.told_us + GRACE_US and budget.pays(p.ask, p.key)
    )
