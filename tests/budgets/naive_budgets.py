"""What budgets should do, told in the plainest way: lists of amounts, looked through for every question."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
NEVER_US = 1 << 62
LENGTHS_US = {"hour": HOUR_US, "day": DAY_US, "week": 7 * DAY_US, "month": 30 * DAY_US}
CAPPED, USUAL = 4096, 1024


@dataclass
class Amount:
    """One amount, and when it was counted. `leaves_us` where that is known apart from the window."""

    nano_usd: int
    at_us: int
    is_held: bool
    leaves_us: int | None = None


@dataclass
class NaiveBudget:
    """One budget: its terms as they stand, and every amount that was ever counted in it."""

    budget_id: str
    scope: str
    scope_id: str | None
    terms: object
    amounts: list[Amount] = field(default_factory=list)
    credits: list[tuple[int, int]] = field(default_factory=list)
    is_closed: bool = False
    is_excused: bool = False
    told_percent: int = 0
    told_until_us: int = NEVER_US
    is_pending: bool = False

    @property
    def is_hard(self) -> bool:
        return self.terms.enforcement == "hard"

    @property
    def length_us(self) -> int:
        return self.terms.seconds * SECOND_US if self.terms.unit == "custom" else LENGTHS_US[self.terms.unit]

    def place(self, at_us: int) -> object:
        """Name the fixed window that an instant lies in, by what the clocks of its zone show."""
        if self.terms.unit == "total":
            return None
        shown = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).astimezone(
            ZoneInfo(self.terms.zone)
        )
        match self.terms.unit:
            case "hour":
                return shown.date(), shown.hour, shown.utcoffset()
            case "day":
                return shown.date()
            case "week":
                return shown.isocalendar()[:2]
            case "month":
                return shown.year, shown.month
        since = shown.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        return since // timedelta(seconds=self.terms.seconds)

    def ends_us(self, at_us: int) -> int:
        """Return when the window of an instant is over: the first instant of another, by halving."""
        if self.terms.kind == "rolling":
            return at_us + self.length_us
        if self.terms.unit == "total":
            return NEVER_US
        before_us, after_us = at_us, at_us + 2 * self.length_us + DAY_US
        while after_us - before_us > 1:
            middle_us = (before_us + after_us) // 2
            if self.place(middle_us) == self.place(at_us):
                before_us = middle_us
            else:
                after_us = middle_us
        return after_us

    def counts(self, amount: Amount, at_us: int) -> bool:
        if amount.leaves_us is not None and at_us >= amount.leaves_us:
            return False
        if self.terms.kind == "rolling":
            return at_us < amount.at_us + self.length_us
        return self.place(amount.at_us) == self.place(at_us)

    def limit(self, at_us: int) -> int:
        return self.terms.limit_nano_usd + sum(credit for ends_us, credit in self.credits if ends_us > at_us)

    def used(self, at_us: int) -> int:
        return sum(each.nano_usd for each in self.amounts if self.counts(each, at_us))

    def reserved(self, at_us: int) -> int:
        return sum(each.nano_usd for each in self.amounts if each.is_held and self.counts(each, at_us))

    def settled(self, at_us: int) -> int:
        return self.used(at_us) - self.reserved(at_us)

    def remaining(self, at_us: int) -> int:
        return self.limit(at_us) - self.used(at_us)

    def fits_at(self, needed: int, now_us: int) -> int:
        """Return the first instant at which so much fits: only where something leaves it may begin to."""
        leaves = [now_us]
        if self.terms.kind == "rolling":
            leaves += [each.at_us + self.length_us for each in self.amounts]
        else:
            leaves.append(self.ends_us(now_us))
        for at_us in sorted(leaves):
            if now_us <= at_us < NEVER_US and self.remaining(at_us) >= needed:
                return at_us
        return NEVER_US

    # --- alerts --------------------------------------------------------------------------------------

    def reached(self, at_us: int) -> int:
        """Return the highest threshold that is reached and was not told of; 0 for none."""
        limit, settled = self.limit(at_us), self.settled(at_us)
        return max(
            (
                percent
                for percent in self.terms.alerts_percent
                if percent > self.told_percent and settled * 100 >= limit * percent
            ),
            default=0,
        )

    def arm(self, now_us: int) -> None:
        self.told_percent = 0
        self.told_until_us = NEVER_US if self.terms.kind == "rolling" else self.ends_us(now_us)

    def settle_touched(self, now_us: int) -> None:
        if now_us >= self.told_until_us:
            self.arm(now_us)
        if not self.is_closed and self.reached(now_us):
            self.is_pending = True

    def topped_up(self, now_us: int) -> None:
        """Thresholds that are out of reach again are told anew."""
        limit, settled = self.limit(now_us), self.settled(now_us)
        self.told_percent = max(
            (
                percent
                for percent in self.terms.alerts_percent
                if percent <= self.told_percent and settled * 100 >= limit * percent
            ),
            default=0,
        )

    def told(self, percent: int, now_us: int) -> None:
        self.told_percent, self.is_pending = percent, False
        if self.terms.kind == "rolling" and self.told_until_us == NEVER_US:
            self.told_until_us = now_us + self.length_us


@dataclass(frozen=True)
class NaivePrice:
    """Nano-USD per million, by length of input: (above so many tokens, the prices)."""

    tiers: tuple[tuple[int, dict[str, int]], ...]

    def bound(self, input_tokens: int, output_tokens: int) -> int:
        """Return the most that a request within these counts can cost, each part at its dearest."""
        reached = [prices for above, prices in self.tiers if above < input_tokens]
        dearest = [
            max(prices.get(part, 0) for prices in reached for part in parts)
            for parts in (("input", "cached_input", "cache_write"), ("output", "reasoning"), ("request",))
        ]
        return -(-(dearest[0] * input_tokens + dearest[1] * output_tokens + dearest[2]) // 1_000_000)

    def cost(self, input_tokens: int, output_tokens: int, cached: int = 0, reasoning: int = 0) -> int:
        """Return what a use costs; parts without a price of their own cost what the whole does."""
        prices = [prices for above, prices in self.tiers if above < input_tokens or above < 0][-1]
        total = (input_tokens - cached) * prices["input"] + (output_tokens - reasoning) * prices["output"]
        total += cached * prices.get("cached_input", prices["input"])
        total += reasoning * prices.get("reasoning", prices["output"])
        return -(-(total + prices.get("request", 0)) // 1_000_000)
