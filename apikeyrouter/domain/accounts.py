"""What has been used of every limit: reserved as an upper bound before a call, then settled or released.

Only the fold writes here, in place. Whether something fits is asked before; what was decided is counted.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from math import ceil
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from apikeyrouter.domain.account_columns import (
    ROUNDING,
    UNLIMITED,
    Account,
    AccountColumns,
    Amounts,
    Entry,
    most_of,
)
from apikeyrouter.domain.columns import Rows
from apikeyrouter.domain.estimates import grown_at_us, grown_limit
from apikeyrouter.domain.quota_limits import Dimension, Limit
from apikeyrouter.domain.windows import Window

Mask = NDArray[np.bool_]

NO_ROW: Final = -1
"""A row that everything fits into, for those that draw on fewer accounts than others."""


class LimitSource(StrEnum):
    """How a limit is known."""

    Declared = "declared"
    Headers = "learned_from_headers"
    Refusal = "learned_from_refusal"


class Holding(msgspec.Struct):
    """What one request holds of its accounts in `entries`; once that has ended, `ended` has them."""

    entries: list[Entry]
    ended: list[Entry] = []


class AccountReport(msgspec.Struct, frozen=True, kw_only=True):
    """An account for people. `limit` None: closed. `declared` None: nobody declared it, it was learned.

    A rolling window starts one length ago, and `ends_us` is when its oldest amount leaves, if there is one.
    """

    account_id: str
    dimension: Dimension
    models: tuple[str, ...] | None
    window: Window
    limit: int | None
    declared: int | None
    source: str
    since_us: int
    settled: int
    reserved: int
    remaining: int | None
    starts_us: int
    ends_us: int | None


class Accounts(AccountColumns):
    """All accounts by their rows: limits, the two phases, and what one may ask of them."""

    # --- limits --------------------------------------------------------------------------------------

    def open(self, limit: Limit, source: str = LimitSource.Declared, held: Iterable[Entry] = ()) -> int:
        """Return the row of a limit's account, with that limit from now on.

        A declaration that is made again as it was leaves alone what has been learned since. Where the
        window changed, what was used moves along: of that, what is among `held` as held, the rest as settled;
        too much for once, but never too little.
        """
        row = self._rows.get(limit.account_id)
        account = self._add(limit) if row is None else self._accounts[row]
        if account.limit.window != limit.window:
            self._move(account, limit.window, held)
        account.limit = limit
        if source == LimitSource.Declared:
            if account.declared == limit.amount:
                return account.row
            account.declared = limit.amount
        self.set_limit(account.row, limit.amount, source)
        return account.row

    def row_of(self, account_id: str) -> int | None:
        """Return the row of an account, None where it was never opened."""
        return self._rows.get(account_id)

    def limit_of(self, row: int) -> Limit:
        """Return the limit that an account was last opened with: its dimension, window and models."""
        return self._accounts[row].limit

    def set_limit(self, row: int, amount: int, source: str) -> None:
        """Change a limit. One that was guessed from refusals grows with time, at most to what is declared."""
        account = self._accounts[row]
        account.source = source
        account.since_us = self.now_us
        account.estimate = max(1, amount) if source == LimitSource.Refusal else None
        self.limit[row] = amount
        self._set_pace(account)
        self._grow(account)

    def close(self, row: int) -> None:
        """Lift a limit that is declared no longer; its account goes on counting."""
        account = self._accounts[row]
        account.declared = account.estimate = None
        self.limit[row] = UNLIMITED
        self._set_pace(account)

    # --- the two phases ------------------------------------------------------------------------------

    def reserve(self, rows: Sequence[int], amounts: Sequence[int], at_us: int) -> Holding:
        """Count upper bounds as used until they are settled or released. Whether they fit is not asked."""
        self.advance(at_us)
        entries, reserved = [], self.reserved
        for row, amount in zip(rows, amounts, strict=True):
            account = self._accounts[row]
            self._use(account, amount)
            reserved[row] = reserved.item(row) + amount  # half the time of adding in place
            entries.append(self._enter(account, amount, is_held=True))
        return Holding(entries)

    def settle(self, holding: Holding, amounts: Sequence[int]) -> None:
        """Replace what is held by what was really used, in the windows that it was reserved in."""
        entries = holding.entries
        if not entries:
            return
        holding.entries, holding.ended = [], entries
        for entry, amount in zip(entries, amounts, strict=True):
            row, account = entry.row, self._accounts[entry.row]
            # A window that is over, or is another now, has forgotten the entry already.
            if entry.ends_us > self.now_us and entry.generation == account.generation:
                self._use(account, amount - entry.amount)
                self.reserved[row] = self.reserved.item(row) - entry.amount
                entry.amount = amount
                entry.is_held = False

    def settle_more(self, holding: Holding, amount: int) -> None:
        """Count what turned up after a holding had ended, in the windows that it was reserved in."""
        for entry in holding.ended:
            account = self._accounts[entry.row]
            if entry.ends_us > self.now_us and entry.generation == account.generation:
                self._use(account, amount)
                entry.amount += amount

    def release(self, holding: Holding) -> None:
        """Give back all that is held: nothing was used."""
        self.settle(holding, [0] * len(holding.entries))

    def _use(self, account: Account, amount: int) -> None:
        if account.is_bucket:
            self._draw(account.row, amount)
        else:
            self.used[account.row] = self.used.item(account.row) + amount

    def correct(self, row: int, remaining: int, at_us: int, until_us: int | None = None) -> None:
        """Count as used what somebody else must have used, since less remains than is known of here.

        In a rolling window it leaves when the provider says so, and after one length at the latest. Of a
        bucket, more may remain as well, save what is held here and may not have reached the provider yet.
        """
        self.advance(at_us)
        account = self._accounts[row]
        if account.is_bucket:
            least = self.limit.item(row) - max(0, remaining)
            used = self.used_now(row)
            self._draw(row, min(max(used, least), least + self.reserved.item(row)) - used)
            return
        missing = int(self.limit[row] - self.used[row]) - max(0, remaining)
        if missing <= 0 or self.limit[row] == UNLIMITED:
            return
        if account.line is None:
            self.used[row] += missing
            return
        latest_us = self.now_us + account.limit.window.length_us
        ends_us = latest_us if until_us is None else min(until_us, latest_us)
        if ends_us > self.now_us:
            self.used[row] += missing
            place = bisect_right(account.entries, ends_us, key=_end_of)
            account.entries.insert(place, Entry(row, account.generation, missing, ends_us, is_held=False))
            self._wake_at(ends_us, row)

    # --- questions -----------------------------------------------------------------------------------

    def fits(self, rows: Rows, ask: int | Amounts) -> Mask:
        """Tell of each row whether so much more fits now."""
        return np.asarray(self.used_of(rows) + ask <= self.limit.take(rows))

    def horizon_us(self, rows: Rows, now_us: int) -> Amounts:
        """Return for each row how long until it has been given back all that is used now."""
        return np.minimum(self.ends_us.take(rows) - now_us, self.rolls_for_us.take(rows))

    def fits_at(self, row: int, ask: int, now_us: int) -> int | None:
        """Return the first instant at which so much would fit if nothing else happened; None: never."""
        if self._accounts[row].is_bucket:
            return self._filled_at(row, ask, max(now_us, self.now_us))
        earliest_us: int | None = None
        for from_us, used in self._falling(self._accounts[row], max(now_us, self.now_us)):
            if earliest_us is not None and earliest_us <= from_us:
                break
            reached_us = self._limit_reaches_us(row, used + ask)
            if reached_us is not None:
                later_us = max(from_us, reached_us)
                earliest_us = later_us if earliest_us is None else min(earliest_us, later_us)
        return earliest_us

    def report(self, row: int, now_us: int) -> AccountReport:
        """Describe an account as it stands at an instant, without moving the present."""
        account, at_us = self._accounts[row], max(now_us, self.now_us)
        used = self._used_at(account, at_us)
        reserved = min(self._reserved_at(account, at_us), used)
        limit = self._limit_at(account, at_us)
        window, ends_us = account.limit.window, None
        if account.calendar is not None:
            starts_us, ends_us = account.calendar.bounds(at_us)
        elif account.is_bucket:
            starts_us, ends_us = at_us - window.length_us, self._filled_at(row, limit or 0, at_us)
        else:
            starts_us = at_us - window.length_us
            ends_us = next((entry.ends_us for entry in account.entries if entry.ends_us > at_us), None)
        return AccountReport(
            account_id=account.limit.account_id,
            dimension=account.limit.dimension,
            models=account.limit.models,
            window=window,
            limit=limit,
            declared=account.declared,
            source=account.source,
            since_us=account.since_us,
            settled=used - reserved,
            reserved=reserved,
            remaining=None if limit is None else max(0, limit - used),
            starts_us=starts_us,
            ends_us=ends_us,
        )

    def _used_at(self, account: Account, at_us: int) -> int:
        if account.is_bucket:
            return max(ceil(self._missing_at(account.row, at_us) - ROUNDING), 0)
        return next(self._falling(account, at_us))[1]

    def _missing_at(self, row: int, at_us: int) -> float:
        filled = (at_us - self.missing_at_us.item(row)) * self.fills_per_us.item(row)
        return self.missing.item(row) - filled

    def _filled_at(self, row: int, ask: int, at_us: int) -> int | None:
        """Return when a bucket holds so much."""
        limit = self.limit.item(row)
        if ask > limit:
            return None
        lacking = self._missing_at(row, at_us) - (limit - ask)
        return at_us + ceil(max(lacking, 0.0) / self.fills_per_us.item(row))

    def _falling(self, account: Account, at_us: int) -> Iterator[tuple[int, int]]:
        """Yield the amount used at an instant, and each later one at which it falls, with what is left."""
        used = int(self.used[account.row])
        if account.calendar is not None:
            if account.calendar.ends_us > at_us:
                yield at_us, used
            yield max(at_us, account.calendar.ends_us), 0
            return
        falls_us = at_us
        for entry in account.entries:
            if entry.ends_us > falls_us:
                yield falls_us, used
                falls_us = entry.ends_us
            used -= entry.amount
        yield falls_us, used

    def _reserved_at(self, account: Account, at_us: int) -> int:
        if account.is_bucket:
            return self.reserved.item(account.row)
        reserved = int(self.reserved[account.row])
        if account.calendar is not None:
            return reserved if account.calendar.ends_us > at_us else 0
        for entry in account.entries:
            if entry.ends_us > at_us:
                break
            reserved -= entry.amount if entry.is_held else 0
        return reserved

    def _limit_at(self, account: Account, at_us: int) -> int | None:
        if account.estimate is not None:
            return min(grown_limit(account.estimate, account.since_us, at_us), most_of(account))
        limit = int(self.limit[account.row])
        return None if limit == UNLIMITED else limit

    def _limit_reaches_us(self, row: int, amount: int) -> int | None:
        account = self._accounts[row]
        if account.estimate is None:
            return 0 if amount <= self.limit[row] else None
        return grown_at_us(account.estimate, account.since_us, amount) if amount <= most_of(account) else None


def _end_of(entry: Entry) -> int:
    return entry.ends_us
