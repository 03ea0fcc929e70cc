"""The quotas of all keys: which accounts a request draws on, what they hold, and the demand seen on them."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import numpy as np

from apikeyrouter.domain.account_columns import NEVER_US
from apikeyrouter.domain.accounts import Accounts, Holding, LimitSource
from apikeyrouter.domain.columns import FIRST_CAPACITY, Floats
from apikeyrouter.domain.demand import DemandColumns
from apikeyrouter.domain.events import EventRef, Metadata, Reserved
from apikeyrouter.domain.forecast_scores import ForecastScores
from apikeyrouter.domain.quota_limits import Dimension, Limit, agreed, limits_of, scope_of


class Amounts(NamedTuple):
    """What a request takes of an account of each dimension, in the order of `Dimension`."""

    requests: int
    tokens: int
    input_tokens: int
    output_tokens: int

    @classmethod
    def of(cls, input_tokens: int, output_tokens: int) -> "Amounts":
        """Count one request of these tokens."""
        return cls(1, input_tokens + output_tokens, input_tokens, output_tokens)


DIMENSIONS = tuple(Dimension)
FORESEEN_FOR_US = 250_000
FORESEEN_FOR_US_A_ROW = 500
"""For how long forecasts stand before they are made anew: longer with many accounts, to stay cheap."""


class Share(msgspec.Struct, frozen=True, gc=False):
    """What one request holds of its accounts."""

    rows: tuple[int, ...]
    holding: Holding


class Quotas:
    """Accounts by their rows, and beside each the event that last touched it. Only the fold writes here."""

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.demand = DemandColumns()
        self.limits: dict[str, tuple[Limit, ...]] = {}
        self.declarations: dict[str, dict[str, Limit]] = {}
        self.by_row: list[Limit] = []
        self.places: list[int] = []
        self.refs: list[EventRef] = []
        self.exhaustion: Floats = np.zeros(FIRST_CAPACITY)
        self.scores = ForecastScores()
        self._foresee_at_us = 0

    def declare(self, key_id: str, provider_id: str, metadata: Metadata, ref: EventRef) -> None:
        """Take the limits that are declared for a key; those it had and has no longer are given up.

        What was learned stays, as long as it is the same owner's.
        """
        before = self.limits.get(key_id, ())
        declared = limits_of(provider_id, key_id, metadata)
        owned = f"{scope_of(provider_id, key_id, metadata).owner}/"
        stays = {limit.account_id for limit in declared}
        learned = [
            limit
            for limit in before
            if limit.account_id.startswith(owned) and not self._declares(key_id, limit.account_id)
        ]
        self.limits[key_id] = (*declared, *(limit for limit in learned if limit.account_id not in stays))
        for limit in declared:
            declarations = self.declarations.setdefault(limit.account_id, {})
            declarations[key_id] = limit
            self._open(agreed(declarations.values()), ref)
        self._give_up(key_id, before, ref)

    def withdraw(self, key_id: str, ref: EventRef) -> None:
        """Give up the limits of a key that left."""
        self._give_up(key_id, self.limits.pop(key_id, ()), ref)

    def learn(self, key_id: str, limit: Limit, source: str, ref: EventRef) -> None:
        """Take a limit that the provider told."""
        others = tuple(known for known in self.limits[key_id] if known.account_id != limit.account_id)
        self.limits[key_id] = (*others, limit)
        self._open(limit, ref, source)

    def correct(self, account: str, remaining: int, at_us: int, until_us: int | None, ref: EventRef) -> None:
        """Count what somebody else has used of an account."""
        row = self.accounts.row_of(account)
        if row is not None:
            self.accounts.correct(row, remaining, at_us, until_us)
            self.refs[row] = ref

    def rows_for(self, key_id: str, model: str) -> list[int]:
        """Return the accounts that a request for a model on a key draws on."""
        drawn = (limit for limit in self.limits.get(key_id, ()) if limit.covers(model))
        rows = (self.accounts.row_of(limit.account_id) for limit in drawn)
        return [row for row in rows if row is not None]

    def next_reset_us(self, key_id: str) -> int | None:
        """Return when the day or month of a key's quota ends, the sooner: gone quota may be back then."""
        rows = (
            self.accounts.row_of(limit.account_id)
            for limit in self.limits.get(key_id, ())
            if limit.window.unit in {"day", "month"} and limit.window.kind == "fixed"
        )
        return min((int(self.accounts.ends_us[row]) for row in rows if row is not None), default=None)

    def foresee(self, now_us: int) -> None:
        """Bring the probabilities of exhaustion to the present, unless that was done a moment ago.

        To be called by the fold alone, never by a decision: those that are not recorded must leave no trace.
        """
        count = len(self.by_row)
        if now_us < self._foresee_at_us or not count:
            return
        accounts = self.accounts
        self._foresee_at_us = now_us + FORESEEN_FOR_US + count * FORESEEN_FOR_US_A_ROW
        rolls = accounts.rolls_for_us[:count] < NEVER_US
        limit = accounts.limit[:count].astype(np.float64)
        used = accounts.used_of(np.arange(count)).astype(np.float64)
        exhaustion = np.zeros(len(accounts.limit))
        rolling, fixed = np.flatnonzero(rolls), np.flatnonzero(~rolls)
        if len(rolling):
            exhaustion[rolling] = self.demand.rolling_exhaustion(
                rolling, limit[rolling], used[rolling], now_us
            )
        if len(fixed):
            horizon_us = (accounts.ends_us[fixed] - now_us).astype(np.float64)
            left = limit[fixed] - used[fixed]
            exhaustion[fixed] = self.demand.exhaustion(fixed, left, horizon_us, now_us)
        few_seen = self.demand.few_seen(count)
        exhaustion[:count][few_seen] = 0.0
        self.exhaustion = exhaustion
        until_us = np.where(rolls, now_us + accounts.rolls_for_us[:count] * rolls, accounts.ends_us[:count])
        has_run_out = limit - used < self.demand.usual_amounts(count)
        self.scores.compare(now_us, exhaustion[:count], until_us, has_run_out, ~few_seen)

    def tightest_ref(self, key_id: str) -> EventRef | None:
        """Return the event that last touched the account of a key of which the least is left."""
        rows = [self.accounts.row_of(limit.account_id) for limit in self.limits.get(key_id, ())]
        known = [row for row in rows if row is not None]
        accounts = self.accounts
        if not known:
            return None
        return self.refs[min(known, key=lambda row: accounts.limit[row] - accounts.used_now(row))]

    def reserve(self, reserved: Iterable[Reserved], at_us: int, ref: EventRef) -> Share | None:
        """Hold what a decision reserved."""
        rows, amounts = [], []
        for account, amount in ((one.account, one.amount) for one in reserved):
            row = self.accounts.row_of(account)
            if row is not None:
                rows.append(row)
                amounts.append(amount)
        if not rows:
            return None
        for row in rows:
            self.refs[row] = ref
            if self.places[row] == 0:
                self.demand.observe(row, at_us, 1.0)
        return Share(tuple(rows), self.accounts.reserve(rows, amounts, at_us))

    def settle(self, share: Share, consumed: Amounts, at_us: int, ref: EventRef) -> None:
        """Replace what was held by what was consumed."""
        amounts = [consumed[self.places[row]] for row in share.rows]
        for row, amount in zip(share.rows, amounts, strict=True):
            self.refs[row] = ref
            if amount and self.places[row]:
                self.demand.observe(row, at_us, float(amount))
        self.accounts.settle(share.holding, amounts)

    def consume(self, share: Share, consumed: Amounts, at_us: int, ref: EventRef) -> None:
        """Count tokens that turned up after the share had been settled."""
        rows = [row for row in share.rows if self.places[row] and consumed[self.places[row]]]
        if rows:
            amounts = [consumed[self.places[row]] for row in rows]
            late = Share(tuple(rows), self.accounts.reserve(rows, amounts, at_us))
            self.settle(late, consumed, at_us, ref)

    def release(self, share: Share, ref: EventRef) -> None:
        """Give back what was held: nothing was consumed."""
        for row in share.rows:
            self.refs[row] = ref
        self.accounts.release(share.holding)

    def forfeit(self, share: Share, ref: EventRef) -> None:
        """Count as consumed all that was held: nobody knows how much of it was."""
        for row in share.rows:
            self.refs[row] = ref
        self.accounts.settle(share.holding, [entry.amount for entry in share.holding.entries])

    def _open(self, limit: Limit, ref: EventRef, source: str = LimitSource.Declared) -> int:
        row = self.accounts.open(limit, source)
        if row == len(self.by_row):
            self.by_row.append(limit)
            self.places.append(DIMENSIONS.index(limit.dimension))
            self.refs.append(ref)
            self.demand.open(limit.window.length_us)
            if row >= len(self.exhaustion):
                self.exhaustion = np.concatenate([self.exhaustion, np.zeros(len(self.exhaustion))])
        self.by_row[row] = limit
        self.refs[row] = ref
        return row

    def _declares(self, key_id: str, account: str) -> bool:
        return key_id in self.declarations.get(account, {})

    def _give_up(self, key_id: str, before: Iterable[Limit], ref: EventRef) -> None:
        """Let go of the accounts that a key draws on no longer; what other keys declare of them holds."""
        kept = {limit.account_id for limit in self.limits.get(key_id, ())}
        gone = [limit.account_id for limit in before if limit.account_id not in kept]
        if not gone:
            return
        still = {limit.account_id for held in self.limits.values() for limit in held}
        for account in gone:
            declarations = self.declarations.get(account, {})
            declarations.pop(key_id, None)
            row = self.accounts.row_of(account)
            if declarations:
                self._open(agreed(declarations.values()), ref)
            elif row is not None and account not in still:
                self.accounts.close(row)
