"""What is decided about budgets: stream budget-<id>. What requests take of them stands in theirs."""

import msgspec

from apikeyrouter.domain.vocabulary.shape import Event, EventRef


class BudgetTerms(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """How much may be spent in which window, and what happens when it is.

    `kind` is fixed or rolling, `unit` hour, day, week, month, total or custom, and then `seconds` long. A
    hard budget refuses what does not fit; a soft one tells, and with `downgrade` prefers cheaper models.
    """

    limit_nano_usd: int
    kind: str = "fixed"
    unit: str
    seconds: int = 0
    zone: str = "UTC"
    enforcement: str
    alerts_percent: tuple[int, ...] = ()
    downgrade: bool = False


class BudgetOpened(Event, frozen=True, kw_only=True, gc=False):
    """Spending of a scope is bounded from now on; what was spent before does not count.

    `scope` is global, provider, key, client, team, model, tag or route; `scope_id` whose, None for global.
    """

    actor: str
    scope: str
    scope_id: str | None = None
    name: str | None = None
    terms: BudgetTerms


class BudgetTermsSet(Event, frozen=True, kw_only=True, gc=False):
    """An administrator put other terms in place; what is spent in the present window stays spent."""

    actor: str
    terms: BudgetTerms
    reason: str | None = None


class BudgetToppedUp(Event, frozen=True, kw_only=True, gc=False):
    """More may be spent until `until_us`, the end of the present window; None: for ever."""

    actor: str
    amount_nano_usd: int
    until_us: int | None = None
    reason: str | None = None


class BudgetClosed(Event, frozen=True, kw_only=True, gc=False):
    """A budget bounds nothing any more; its history stays."""

    actor: str
    reason: str | None = None


class BudgetAlerted(Event, frozen=True, kw_only=True, gc=False):
    """So many percent of a budget are settled in the present window; told once a window and threshold."""

    percent: int
    settled_nano_usd: int
    limit_nano_usd: int
    window_ends_us: int | None = None
    evidence: tuple[EventRef, ...] = ()
