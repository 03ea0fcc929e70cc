"""What accounts should do, told in the plainest way: lists of amounts, looked through for every question."""

from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from apikeyrouter.domain.quota_limits import Dimension, Limit
from apikeyrouter.domain.windows import Unit, Window, bounds

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


def instant_us(zone: str, *when: int) -> int:
    """Return the instant at which the clocks of a zone show a time."""
    return int(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp()) * SECOND_US


def rolling(unit: Unit) -> Window:
    return Window("rolling", unit)


def fixed(unit: Unit, zone: str = "UTC") -> Window:
    return Window("fixed", unit, zone)


def limit_on(window: Window, amount: int = 10, account_id: str = "a") -> Limit:
    return Limit(account_id=account_id, dimension=Dimension.Requests, amount=amount, window=window)


@dataclass
class NaiveEntry:
    """One amount, and when it was counted."""

    amount: int
    at_us: int
    is_held: bool
    leaves_us: int | None = None


@dataclass
class NaiveAccount:
    """One account: every amount that was ever counted."""

    window: Window
    limit: int | None
    entries: list[NaiveEntry] = field(default_factory=list)
    grows_since_us: int | None = None
    most: int = 2**53

    def counts(self, entry: NaiveEntry, at_us: int) -> bool:
        if entry.leaves_us is not None:
            return at_us < entry.leaves_us
        if self.window.kind == "rolling":
            return at_us < entry.at_us + self.window.length_us
        return bounds(self.window, entry.at_us) == bounds(self.window, at_us)

    def used(self, at_us: int) -> int:
        return sum(entry.amount for entry in self.entries if self.counts(entry, at_us))

    def reserved(self, at_us: int) -> int:
        return sum(entry.amount for entry in self.entries if entry.is_held and self.counts(entry, at_us))

    def limit_at(self, at_us: int) -> int | None:
        if self.limit is None or self.grows_since_us is None:
            return self.limit
        minutes = (at_us - self.grows_since_us) // MINUTE_US
        return min(self.limit + self.limit * 5 * minutes // 100, self.most)

    def fits(self, ask: int, at_us: int) -> bool:
        limit = self.limit_at(at_us)
        return limit is None or self.used(at_us) + ask <= limit

    def move(self, window: Window, at_us: int) -> None:
        used = self.used(at_us)
        self.entries = [NaiveEntry(used, at_us, is_held=False)]
        self.window = window
