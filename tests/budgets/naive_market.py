"""Who serves which model at which price, in plain lists; and what a request needs there of which budgets."""

from dataclasses import dataclass, field

from naive_budgets import CAPPED, USUAL, NaiveBudget, NaivePrice

from apikeyrouter.domain.events import (
    CATALOGUE_STREAM,
    ModelOffer,
    ModelsEquated,
    Prices,
    PriceSet,
    RequestFacts,
)
from apikeyrouter.domain.price_book import ModelPrice, Period, PriceBook, Section
from apikeyrouter.domain.pricing import Tier

PER_TOKEN = 1_000_000
DEAR = {"input": 30_000 * PER_TOKEN + 7, "output": 60_000 * PER_TOKEN + 1}
CHEAP = {"input": 500 * PER_TOKEN, "output": 1_500 * PER_TOKEN}
LONG = {"input": 9_000 * PER_TOKEN, "output": 30_000 * PER_TOKEN, "reasoning": 31_000 * PER_TOKEN}
SHORT = {"input": 5_000 * PER_TOKEN + 3, "cached_input": 900, "output": 20_000 * PER_TOKEN, "request": 5}
SETTABLE = (None, DEAR, CHEAP, {**CHEAP, "cache_write": 700 * PER_TOKEN, "request": 10_000_001})
LISTED = {"p1": {"big": DEAR, "small": CHEAP}, "p2": {}, "p3": {"tiny": CHEAP, "small": None}}
MOST_OUTPUT = {("p1", "small"): 100}
KEYS = {"k1": "p1", "k2": "p1", "k3": "p2", "k4": "p3"}
IN_BOOK = {"big": ((-1, SHORT), (1000, LONG))}


@dataclass(frozen=True)
class Member:
    """A key, and the model that it would be asked for."""

    key_id: str
    provider_id: str
    model: str


@dataclass
class Market:
    """The catalogue of the machine: fixed providers and keys, prices and equivalences that change."""

    set_prices: dict[tuple[str, str], dict] = field(default_factory=dict)
    equated: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)

    def found(self, node) -> None:
        """Tell a node of it from the beginning."""
        tier = Tier(above_input_tokens=1000, prices=Prices(**LONG))
        entry = ModelPrice(
            model="big", names=("big",), periods=(Period(prices=Prices(**SHORT), tiers=(tier,)),)
        )
        section = Section(provider="openai", address=r"https://api\.openai\.com", models=(entry,))
        book = PriceBook("a-source", "1", [section])
        node.record(CATALOGUE_STREAM, book.adopted(at_us=node.time_us, actor="t"))
        for provider_id, models in LISTED.items():
            node.provider(provider_id, *(self._offer(provider_id, *each) for each in models.items()))
        for key_id, provider_id in KEYS.items():
            node.key(key_id, provider_id)

    def set_price(self, node, provider_id: str, model: str, prices: dict | None) -> None:
        self.set_prices.pop((provider_id, model), None)
        if prices is not None:
            self.set_prices[provider_id, model] = prices
        told = None if prices is None else Prices(**prices)
        event = PriceSet(
            at_us=node.time_us,
            actor="t",
            provider_id=provider_id,
            model=model,
            prices_nano_usd_per_million=told,
        )
        node.record(CATALOGUE_STREAM, event)

    def equate(self, node, model: str, equivalents: tuple[str, ...], cheaper: tuple[str, ...]) -> None:
        self.equated[model] = (equivalents, cheaper)
        event = ModelsEquated(
            at_us=node.time_us, actor="t", model=model, equivalents=equivalents, cheaper=cheaper
        )
        node.record(CATALOGUE_STREAM, event)

    def price(self, member: Member) -> NaivePrice | None:
        place = member.provider_id, member.model
        if place in self.set_prices:
            return NaivePrice(((-1, self.set_prices[place]),))
        listed = LISTED[member.provider_id].get(member.model)
        if listed is not None:
            return NaivePrice(((-1, listed),))
        tiers = IN_BOOK.get(member.model)
        return None if tiers is None else NaivePrice(tiers)

    def members(self, model: str, *, downgraded: bool = False) -> list[Member]:
        """Return who could serve a model: others in its place only where they are listed."""
        equivalents, cheaper = self.equated.get(model, ((), ()))
        others = (*equivalents, *cheaper) if downgraded else equivalents
        found = []
        for key_id, provider_id in KEYS.items():
            listed = LISTED[provider_id]
            serves = [model] if not listed or model in listed else []
            serves += [other for other in others if other in listed]
            found += [Member(key_id, provider_id, each) for each in serves]
        return found

    def _offer(self, provider_id: str, model: str, prices: dict | None) -> ModelOffer:
        return ModelOffer(
            model=model,
            input_nano_usd_per_mtok=None if prices is None else prices["input"],
            output_nano_usd_per_mtok=None if prices is None else prices["output"],
            max_output_tokens=MOST_OUTPUT.get((provider_id, model)),
        )


def draws_on(budget: NaiveBudget, facts: RequestFacts, member: Member) -> bool:
    """Tell whether a request would be paid for by a budget if this member served it."""
    whose = {
        "global": [None],
        "client": [facts.client_id],
        "team": [facts.team],
        "tag": facts.tags,
        "route": [facts.operation],
        "provider": [member.provider_id],
        "key": [member.key_id],
        "model": [member.model],
    }[budget.scope]
    return not budget.is_closed and budget.scope_id in whose


@dataclass
class Quote:
    """What a request costs at most on one member, and the budgets that would pay; None: price unknown."""

    member: Member
    price: NaivePrice | None
    bound: int | None
    budgets: list[NaiveBudget]
    capped: int | None

    @property
    def hard(self) -> list[NaiveBudget]:
        return [budget for budget in self.budgets if budget.is_hard]

    def short_of(self, now_us: int) -> list[NaiveBudget]:
        """Return the hard budgets that it does not fit into."""
        needed = self.bound or 0
        return [budget for budget in self.hard if budget.remaining(now_us) < needed]

    def is_refused(self, now_us: int) -> bool:
        return bool(self.hard) and (self.bound is None or bool(self.short_of(now_us)))


def quotes(market: Market, budgets, facts: RequestFacts, *, downgraded: bool) -> list[Quote]:
    """Price a request on every member."""
    members = market.members(facts.model, downgraded=downgraded)
    paying = [[budget for budget in budgets if draws_on(budget, facts, member)] for member in members]
    usual = CAPPED if any(budget.is_hard for drawn in paying for budget in drawn) else USUAL
    found = []
    for member, drawn in zip(members, paying, strict=True):
        most = MOST_OUTPUT.get((member.provider_id, member.model))
        output, price = facts.output_tokens_bound, market.price(member)
        open_ended = not output and facts.operation == "chat"
        if open_ended:
            output = (most or usual) * facts.choices
        pays_hard = any(budget.is_hard for budget in drawn)
        found.append(
            Quote(
                member=member,
                price=price,
                bound=None if price is None else price.bound(facts.input_tokens_bound, output),
                budgets=drawn,
                capped=CAPPED if open_ended and pays_hard and not most else None,
            )
        )
    return found
