"""Budgets kept a second time, as plainly as can be: lists of amounts, nothing shared with the domain."""

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from apikeyrouter.domain.events import (
    AttemptFailed,
    BudgetOpened,
    BudgetTerms,
    Event,
    KeyRegistered,
    ProviderRegistered,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFacts,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteRefused,
)

SECOND_US = 1_000_000
LENGTH_S = {"hour": 3600, "day": 86_400}
CAPPED = 4096
NEVER_US = 1 << 62


@dataclass
class Entry:
    """An amount that counts until its window, or its place in it, is over."""

    ends_us: int | None
    amount: int
    is_over: bool = False


@dataclass(eq=False)
class PlainBudget:
    """One budget: all that counts now, held or spent."""

    budget_id: str
    scope: str
    scope_id: str | None
    terms: BudgetTerms
    used: int = 0
    entries: deque[Entry] = field(default_factory=deque)

    @property
    def is_hard(self) -> bool:
        return self.terms.enforcement == "hard"

    @property
    def remaining(self) -> int:
        return self.terms.limit_nano_usd - self.used

    def pays_for(self, facts: RequestFacts, member: "Member") -> bool:
        of_scope = {
            "global": (None,),
            "provider": (member.provider_id,),
            "key": (member.key_id,),
            "client": (facts.client_id,),
            "team": (facts.team,),
            "model": (facts.model,),
            "tag": facts.tags,
            "route": (facts.operation,),
        }
        return self.scope_id in of_scope[self.scope]

    def end_us(self, at_us: int) -> int | None:
        """Return when an amount of this instant ceases to count; None: never."""
        terms = self.terms
        if terms.unit == "total":
            return None
        length_us = (terms.seconds or LENGTH_S[terms.unit]) * SECOND_US
        if terms.kind == "rolling":
            return at_us + length_us
        assert terms.unit == "day"
        zone = ZoneInfo(terms.zone)
        day = datetime.fromtimestamp(at_us // SECOND_US, UTC).astimezone(zone).date()
        midnight = datetime.combine(day + timedelta(days=1), time(), zone)
        return int(midnight.timestamp()) * SECOND_US

    def enter(self, amount: int, at_us: int) -> Entry:
        entry = Entry(self.end_us(at_us), amount)
        self.used += amount
        self.entries.append(entry)
        return entry

    def change(self, entry: Entry, amount: int) -> None:
        if not entry.is_over:
            self.used += amount - entry.amount
            entry.amount = amount

    def forget(self, now_us: int) -> None:
        while self.entries and self.entries[0].ends_us is not None and self.entries[0].ends_us <= now_us:
            entry = self.entries.popleft()
            entry.is_over = True
            self.used -= entry.amount

    def fits_at_us(self, amount: int) -> int:
        """Return when so much would fit by time alone."""
        if self.terms.unit == "total" or amount > self.terms.limit_nano_usd:
            return NEVER_US
        used = self.used
        for ends_us, leaving in groupby(self.entries, key=lambda entry: entry.ends_us):
            used -= sum(entry.amount for entry in leaving)
            if used + amount <= self.terms.limit_nano_usd:
                return ends_us
        return NEVER_US


@dataclass(frozen=True)
class Member:
    """A key that may serve, and its provider."""

    key_id: str
    provider_id: str


class PlainLedger:
    """Follows the log event by event, and lists what is wrong with it."""

    def __init__(self) -> None:
        self.now_us = 0
        self.budgets: dict[str, PlainBudget] = {}
        self.members: list[Member] = []
        self.offers: dict[tuple[str, str], object] = {}
        self.held: dict[str, list[tuple[PlainBudget, Entry]]] = {}
        self.ended: dict[str, list[tuple[PlainBudget, Entry]]] = {}
        self.bounds: dict[str, list[int]] = {}
        self.refusals = 0
        self.tight = 0
        self.faults: list[str] = []

    def follow(self, recorded: Recorded) -> None:
        """Take in the next event, and look whether every hard budget still holds."""
        event, stream = recorded.event, recorded.stream
        self.now_us = max(self.now_us, event.at_us)
        for budget in self.budgets.values():
            budget.forget(self.now_us)
        if stream.startswith("request-"):
            self._follow_request(recorded)
        else:
            self._follow_catalogue(stream, event)
        for budget in self.budgets.values():
            if budget.is_hard and budget.remaining < 0:
                self._fault(recorded, f"{budget.scope} {budget.scope_id} is {-budget.remaining} over")

    def _follow_catalogue(self, stream: str, event: Event) -> None:
        match event:
            case ProviderRegistered():
                self.offers |= {(event.provider_id, offer.model): offer for offer in event.models}
            case KeyRegistered():
                self.members.append(Member(stream.removeprefix("key-"), event.provider_id))
            case BudgetOpened():
                budget_id = stream.removeprefix("budget-")
                self.budgets[budget_id] = PlainBudget(budget_id, event.scope, event.scope_id, event.terms)

    def _follow_request(self, recorded: Recorded) -> None:
        match recorded.event:
            case RouteDecided() as event:
                self._decided(recorded, event)
            case RouteRefused() as event:
                self._refused(recorded, event)
                self._settle(recorded, 0)
            case AttemptFailed() | RequestReleased() as event:
                self._settle(recorded, event.charged_nano_usd)
            case RequestCompleted() | RequestCancelled() | RequestFailed() as event:
                self._settle(recorded, event.cost_nano_usd or 0)

    def bound(self, facts: RequestFacts, member: Member) -> int:
        """Bound what a request costs at a member, in whole numbers."""
        offer = self.offers[member.provider_id, facts.model]
        output = facts.output_tokens_bound
        if not output and facts.operation != "embeddings":
            output = (offer.max_output_tokens or CAPPED) * facts.choices
        parts = (
            facts.input_tokens_bound * offer.input_nano_usd_per_mtok + output * offer.output_nano_usd_per_mtok
        )
        return ceil_of(parts, 1_000_000)

    def paying(self, facts: RequestFacts, member: Member) -> list[PlainBudget]:
        """Return the budgets that pay if this member serves."""
        return [budget for budget in self.budgets.values() if budget.pays_for(facts, member)]

    def blocking(self, facts: RequestFacts) -> dict[Member, list[PlainBudget]]:
        """Return of every member that may serve the hard budgets that it does not fit into."""
        return {
            member: [
                budget
                for budget in self.paying(facts, member)
                if budget.is_hard and budget.remaining < self.bound(facts, member)
            ]
            for member in self.members
            if (member.provider_id, facts.model) in self.offers
        }

    def _decided(self, recorded: Recorded, event: RouteDecided) -> None:
        self._look(recorded, event)
        chosen = Member(event.chosen.key_id, event.chosen.provider_id)
        paying, bound = self.paying(event.facts, chosen), self.bound(event.facts, chosen)
        reserved = {one.account: one.amount for one in event.reserved if one.account.startswith("budget-")}
        if reserved != {f"budget-{budget.budget_id}": bound for budget in paying}:
            self._fault(recorded, "reserves other budgets or amounts than it has to")
        if recorded.stream in self.held:
            self._fault(recorded, "reserves again while it holds")
        self.tight += any(budget.is_hard and budget.remaining < 2 * bound for budget in paying)
        self.bounds[recorded.stream] = [bound for budget in paying if budget.is_hard]
        self.held[recorded.stream] = [(budget, budget.enter(bound, self.now_us)) for budget in paying]

    def _refused(self, recorded: Recorded, event: RouteRefused) -> None:
        blocking = self._look(recorded, event)
        if event.reason != "budget_exceeded":
            if event.shortfall is not None or (not event.tried and all(blocking.values())):
                self._fault(recorded, f"a budget refuses it, and the reason is {event.reason}")
            return
        self.refusals += 1
        if not all(blocking.values()):
            self._fault(recorded, "is refused though it fits")
            return
        kept_out = {(self.bound(event.facts, member), *budgets) for member, budgets in blocking.items()}
        first = min(max(budget.fits_at_us(needed) for budget in budgets) for needed, *budgets in kept_out)
        short, found = event.shortfall, self.budgets[event.shortfall.budget_id]
        told = (short.remaining_nano_usd, short.limit_nano_usd, short.fits_at_us or NEVER_US)
        needed = short.needed_nano_usd
        if told != (found.remaining, found.terms.limit_nano_usd, first):
            self._fault(recorded, f"it tells {told}, and first fits at {first}: {found.budget_id}")
        if not any(needed == bound and found in budgets for bound, *budgets in kept_out):
            self._fault(recorded, f"is refused for {needed} by a budget that it fits into")

    def _look(
        self, recorded: Recorded, event: RouteDecided | RouteRefused
    ) -> dict[Member, list[PlainBudget]]:
        blocking = self.blocking(event.facts)
        too_dear = sum(bool(budgets) for budgets in blocking.values())
        if event.excluded.get("budget", 0) != too_dear:
            self._fault(recorded, f"{event.excluded} are excluded, and {too_dear} are too dear")
        if event.as_of != recorded.position - 1:
            self._fault(recorded, f"stands at {event.as_of}")
        return blocking

    def _settle(self, recorded: Recorded, amount: int) -> None:
        held = self.held.pop(recorded.stream, None)
        if held is not None:
            self.ended[recorded.stream] = held
            for budget, entry in held:
                budget.change(entry, amount)
        elif amount:
            for budget, entry in self.ended[recorded.stream]:
                budget.change(entry, entry.amount + amount)
        if any(amount > bound for bound in self.bounds.get(recorded.stream, ())):
            self._fault(recorded, f"settles {amount}, more than it held")

    def _fault(self, recorded: Recorded, what: str) -> None:
        self.faults.append(f"{recorded.position} {recorded.stream} {type(recorded.event).__name__}: {what}")


def ceil_of(amount: int, parts: int) -> int:
    """Divide whole numbers, rounding up."""
    return -(-amount // parts)
