"""The columns of the accounts, and how amounts leave their windows: all at once, or one after the other.

One row an account; rows are never reused, so a row number names an account for ever.
"""

from collections import deque
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from apikeyrouter.domain.columns import FIRST_CAPACITY, Floats, Rows
from apikeyrouter.domain.estimates import grown_limit, next_growth_us
from apikeyrouter.domain.quota_limits import MOST_AMOUNT, Limit
from apikeyrouter.domain.windows import Window, bounds

Amounts = NDArray[np.int64]

UNLIMITED: Final = 1 << 62
NEVER_US: Final = 1 << 62
ROUNDING: Final = 1e-6
"""What the arithmetic of a bucket may be off by; less than this is nothing."""


class Entry(msgspec.Struct, gc=False):
    """An amount in a window, until the window or its place in it is over."""

    row: int
    generation: int
    amount: int
    ends_us: int
    is_held: bool


class Calendar:
    """A fixed window and the rows that are counted in it; all of them are given back at once."""

    def __init__(self, window: Window, at_us: int) -> None:
        self.window = window
        self.rows: list[int] = []
        self.starts_us, self.ends_us = bounds(window, at_us)

    def bounds(self, at_us: int) -> tuple[int, int]:
        """Return start and end of the window that an instant lies in, not before this one."""
        return (self.starts_us, self.ends_us) if at_us < self.ends_us else bounds(self.window, at_us)


class Account:
    """What stands beside the columns of a row. The generation changes with the window.

    In a rolling window, `entries` are those of this account by their ends, and `line` has them along with
    those of every other account of the same length.
    """

    def __init__(self, row: int, limit: Limit) -> None:
        self.row = row
        self.limit = limit
        self.declared: int | None = None
        self.source = ""
        self.since_us = 0
        self.estimate: int | None = None
        self.grows_at_us = NEVER_US
        self.generation = 0
        self.calendar: Calendar | None = None
        self.line: deque[Entry] | None = None
        self.entries: deque[Entry] = deque()
        self.is_bucket = False


class AccountColumns:
    """`used` is what is settled and reserved in the current window, `ends_us` the end of a fixed one.

    `rolls_for_us` is the length of a rolling one. Of a bucket, `missing` is what it lacked to be full at
    `missing_at_us`: what is used of it is what is missing now, so ask `used_of`, for its `used` is 0. The
    present moves only by instants that the log records too, so that folding again gives the same columns.
    """

    def __init__(self) -> None:
        self.now_us = 0
        self.count = 0
        self.limit: Amounts = np.full(FIRST_CAPACITY, UNLIMITED, dtype=np.int64)
        self.used: Amounts = np.zeros(FIRST_CAPACITY, dtype=np.int64)
        self.reserved: Amounts = np.zeros(FIRST_CAPACITY, dtype=np.int64)
        self.ends_us: Amounts = np.full(FIRST_CAPACITY, NEVER_US, dtype=np.int64)
        self.rolls_for_us: Amounts = np.full(FIRST_CAPACITY, NEVER_US, dtype=np.int64)
        self.buckets = 0
        self.missing: Floats = np.zeros(FIRST_CAPACITY)
        self.missing_at_us: Amounts = np.zeros(FIRST_CAPACITY, dtype=np.int64)
        self.fills_per_us: Floats = np.zeros(FIRST_CAPACITY)
        self._rows: dict[str, int] = {}
        self._accounts: list[Account] = []
        self._calendars: dict[Window, Calendar] = {}
        self._lines: dict[int, deque[Entry]] = {}
        self._wakes: list[tuple[int, int]] = []
        self._next_us = NEVER_US

    def advance(self, now_us: int) -> None:
        """Forget the amounts that have left their windows; the present never goes back."""
        if now_us > self.now_us:
            self.now_us = now_us
            if now_us >= self._next_us:
                self._forget(now_us)

    def used_of(self, rows: Rows) -> Amounts:
        """Return what is used of each account now; of buckets, part of a whole counts as a whole."""
        used = self.used.take(rows)
        if not self.buckets:
            return used
        filled = (self.now_us - self.missing_at_us.take(rows)) * self.fills_per_us.take(rows)
        missing = np.ceil(np.maximum(self.missing.take(rows) - filled, 0.0) - ROUNDING)
        return np.asarray(used + missing.astype(np.int64))

    def used_now(self, row: int) -> int:
        """Return what is used of one account now."""
        return int(self.used_of(np.array([row]))[0])

    def entries_of(self, row: int) -> tuple[Entry, ...]:
        """Return what is counted in a rolling window, by when it leaves; empty for the others."""
        return tuple(self._accounts[row].entries)

    def missing_now(self, row: int) -> float:
        """Return what a bucket lacks now to be full."""
        filled = (self.now_us - self.missing_at_us.item(row)) * self.fills_per_us.item(row)
        return max(self.missing.item(row) - filled, 0.0)

    def _draw(self, row: int, amount: float) -> None:
        """Take an amount out of a bucket, or put one back; it never holds more than a limit's worth."""
        filled = (self.now_us - self.missing_at_us.item(row)) * self.fills_per_us.item(row)
        self.missing[row] = max(max(self.missing.item(row) - filled, 0.0) + amount, 0.0)
        self.missing_at_us[row] = self.now_us

    def _set_pace(self, account: Account) -> None:
        """Let a bucket fill at the pace of its limit, from now on."""
        if account.is_bucket:
            self._draw(account.row, 0.0)
            self.fills_per_us[account.row] = self.limit.item(account.row) / account.limit.window.length_us

    def _enter(self, account: Account, amount: int, *, is_held: bool) -> Entry:
        line = account.line
        if account.is_bucket:
            return Entry(account.row, account.generation, amount, NEVER_US, is_held)
        if line is None:
            return Entry(account.row, account.generation, amount, self.ends_us.item(account.row), is_held)
        entry = Entry(
            account.row,
            account.generation,
            amount,
            self.now_us + account.limit.window.length_us,
            is_held,
        )
        if not line:
            self._next_us = min(self._next_us, entry.ends_us)
        line.append(entry)
        account.entries.append(entry)
        return entry

    def _forget(self, now_us: int) -> None:
        for calendar in self._calendars.values():
            if calendar.ends_us <= now_us:
                self._turn_over(calendar, now_us)
        for line in self._lines.values():
            while line and line[0].ends_us <= now_us:
                self._expire(self._accounts[line.popleft().row], now_us)
        while self._wakes and self._wakes[0][0] <= now_us:
            account = self._accounts[heappop(self._wakes)[1]]
            self._expire(account, now_us)
            if account.grows_at_us <= now_us:
                self._grow(account)
        self._next_us = self._earliest_us()

    def _earliest_us(self) -> int:
        ends = [calendar.ends_us for calendar in self._calendars.values()]
        ends += [line[0].ends_us for line in self._lines.values() if line]
        ends += [at_us for at_us, _ in self._wakes[:1]]
        return min(ends, default=NEVER_US)

    def _turn_over(self, calendar: Calendar, now_us: int) -> None:
        calendar.starts_us, calendar.ends_us = calendar.bounds(now_us)
        self.used[calendar.rows] = 0
        self.reserved[calendar.rows] = 0
        self.ends_us[calendar.rows] = calendar.ends_us

    def _expire(self, account: Account, now_us: int) -> None:
        entries = account.entries
        while entries and entries[0].ends_us <= now_us:
            entry = entries.popleft()
            self.used[account.row] -= entry.amount
            if entry.is_held:
                self.reserved[account.row] -= entry.amount

    def _grow(self, account: Account) -> None:
        """Bring a guessed limit to the present, and come back when it grows again."""
        if account.estimate is None:
            return
        most = most_of(account)
        limit = min(grown_limit(account.estimate, account.since_us, self.now_us), most)
        self.limit[account.row] = limit
        self._set_pace(account)
        if limit < most:
            account.grows_at_us = next_growth_us(account.since_us, self.now_us)
            self._wake_at(account.grows_at_us, account.row)

    def _wake_at(self, at_us: int, row: int) -> None:
        heappush(self._wakes, (at_us, row))
        self._next_us = min(self._next_us, at_us)

    def _add(self, limit: Limit) -> Account:
        row = self.count
        if row + 2 > len(self.limit):  # the last place stays free: it is NO_ROW
            self._widen()
        self.count = row + 1
        self._rows[limit.account_id] = row
        account = Account(row, limit)
        self._accounts.append(account)
        self._join(account, limit.window)
        return account

    def _join(self, account: Account, window: Window) -> None:
        row = account.row
        if window.kind == "bucket":
            account.is_bucket = True
            self.buckets += 1
            self.ends_us[row], self.rolls_for_us[row] = NEVER_US, window.length_us
            return
        if window.kind == "rolling":
            account.line = self._lines.setdefault(window.length_us, deque())
            self.ends_us[row], self.rolls_for_us[row] = NEVER_US, window.length_us
            return
        calendar = self._calendars.get(window)
        if calendar is None:
            calendar = self._calendars[window] = Calendar(window, self.now_us)
            self._next_us = min(self._next_us, calendar.ends_us)
        account.calendar = calendar
        calendar.rows.append(row)
        self.ends_us[row], self.rolls_for_us[row] = calendar.ends_us, NEVER_US

    def _move(self, account: Account, window: Window, held: Iterable[Entry]) -> None:
        row, used = account.row, self.used_now(account.row)
        live = [entry for entry in held if self._is_held(account, entry)]
        used -= sum(entry.amount for entry in live)
        if account.calendar is not None:
            account.calendar.rows.remove(row)
        self.buckets -= account.is_bucket
        account.generation += 1
        account.calendar = account.line = None
        account.is_bucket = False
        account.entries.clear()
        self.used[row], self.reserved[row] = used, 0
        self.missing[row] = self.fills_per_us[row] = 0.0
        self._join(account, window)
        account.limit = msgspec.structs.replace(account.limit, window=window)
        if account.line is not None:
            self._enter(account, used, is_held=False)
        if account.is_bucket:
            self.used[row] = 0
            self._set_pace(account)
            self._draw(row, used)
        for entry in live:
            self._hold_again(account, entry)

    def _is_held(self, account: Account, entry: Entry) -> bool:
        is_counted = entry.generation == account.generation and entry.ends_us > self.now_us
        return entry.row == account.row and entry.is_held and is_counted

    def _hold_again(self, account: Account, entry: Entry) -> None:
        """Count what a request holds in a new window as if it had been reserved there just now."""
        fresh = self._enter(account, entry.amount, is_held=True)
        entry.generation, entry.ends_us = fresh.generation, fresh.ends_us
        if account.line is not None:
            account.line[-1] = account.entries[-1] = entry
        if account.is_bucket:
            self._draw(account.row, entry.amount)
        else:
            self.used[account.row] += entry.amount
        self.reserved[account.row] += entry.amount

    def _widen(self) -> None:
        extra = len(self.limit)
        unlimited = np.full(extra, UNLIMITED, dtype=np.int64)
        never = np.full(extra, NEVER_US, dtype=np.int64)
        none = np.zeros(extra, dtype=np.int64)
        self.limit = np.concatenate([self.limit, unlimited])
        self.used = np.concatenate([self.used, none])
        self.reserved = np.concatenate([self.reserved, none])
        self.ends_us = np.concatenate([self.ends_us, never])
        self.rolls_for_us = np.concatenate([self.rolls_for_us, never])
        self.missing = np.concatenate([self.missing, np.zeros(extra)])
        self.missing_at_us = np.concatenate([self.missing_at_us, none])
        self.fills_per_us = np.concatenate([self.fills_per_us, np.zeros(extra)])


def most_of(account: Account) -> int:
    """Return what a guessed limit may grow to."""
    return MOST_AMOUNT if account.declared is None else account.declared
