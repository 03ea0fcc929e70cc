"""Accounts under any sequence of acts, against the plainest model of them."""

from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from naive_accounts import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    SECOND_US,
    NaiveAccount,
    NaiveEntry,
    fixed,
    instant_us,
    limit_on,
    rolling,
)

from apikeyrouter.domain.accounts import Accounts, Holding, LimitSource

WINDOWS = (
    rolling("second"),
    rolling("minute"),
    rolling("minute"),
    rolling("day"),
    fixed("minute"),
    fixed("hour", "Australia/Lord_Howe"),
    fixed("day", "Europe/Berlin"),
    fixed("day", "America/Santiago"),
    fixed("month", "America/New_York"),
)
BEGINNINGS = (
    instant_us("Europe/Berlin", 2026, 3, 28, 23, 59, 30),
    instant_us("Europe/Berlin", 2026, 10, 24, 23, 59, 30),
    instant_us("America/Santiago", 2026, 9, 5, 23, 59, 30),
    instant_us("America/New_York", 2026, 10, 31, 23, 59, 30),
    instant_us("Australia/Lord_Howe", 2026, 4, 5, 1, 20, 0),
)

passing_us = st.one_of(
    st.integers(0, 3 * SECOND_US),
    st.integers(0, 3 * MINUTE_US),
    st.sampled_from((SECOND_US, MINUTE_US, HOUR_US, DAY_US, 31 * DAY_US)),
    st.integers(-MINUTE_US, 2 * DAY_US),
)
amounts = st.integers(0, 6)
places = st.integers(0, len(WINDOWS) - 1)
several = st.lists(places, min_size=1, max_size=4)


@dataclass
class Held:
    """A holding, what the model counted for it, and the model's accounts that have not forgotten it."""

    holding: Holding
    entries: list[tuple[int, NaiveEntry]]


class AccountsMachine(RuleBasedStateMachine):
    """Every act is done to the accounts and to the model; both must agree whatever is asked."""

    @initialize(now_us=st.sampled_from(BEGINNINGS))
    def begin(self, now_us):
        self.now_us = now_us
        self.accounts, self.again = Accounts(), Accounts()
        self.held: list[Held] = []
        self.holdings_again: list[Holding] = []
        self.naive = [NaiveAccount(window, 10, most=10) for window in WINDOWS]
        self.honest = [True] * len(WINDOWS)
        self.accounts.advance(now_us)
        self.again.advance(now_us)
        for row, window in enumerate(WINDOWS):
            for accounts in (self.accounts, self.again):
                assert accounts.open(limit_on(window, account_id=str(row))) == row

    def both(self, act, *arguments):
        """Do the same to a second fold, which is only moved through time by what it is told."""
        self.again.advance(self.now_us)
        getattr(self.again, act)(*arguments)
        return getattr(self.accounts, act)(*arguments)

    @rule(passed_us=passing_us)
    def pass_time(self, passed_us):
        """Time that goes backwards is taken as standing still."""
        self.accounts.advance(self.now_us + passed_us)
        self.now_us = max(self.now_us, self.now_us + passed_us)

    @rule(rows=several, amount=amounts, only_what_fits=st.booleans())
    def reserve(self, rows, amount, only_what_fits):
        """What fits is reserved; sometimes also what does not, as other nodes may have done."""
        asked = {row: amount * rows.count(row) for row in rows}
        fits = all(self.naive[row].fits(ask, self.now_us) for row, ask in asked.items())
        mask = self.accounts.fits(np.array(list(asked)), np.array(list(asked.values())))
        assert bool(mask.all()) == fits
        if only_what_fits and not fits:
            return
        self.count_as_honest(asked, honest=fits)
        holding = self.accounts.reserve(rows, [amount] * len(rows), self.now_us)
        self.again.advance(self.now_us)
        self.holdings_again.append(self.again.reserve(rows, [amount] * len(rows), self.now_us))
        entries = [(row, NaiveEntry(amount, self.now_us, is_held=True)) for row in rows]
        for row, entry in entries:
            self.naive[row].entries.append(entry)
        self.held.append(Held(holding, entries))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), surplus=st.integers(-6, 1), releases=st.booleans())
    def end(self, data, surplus, releases):
        """A holding ends, settled or released; a second ending changes nothing."""
        place = data.draw(st.integers(0, len(self.held) - 1))
        held, again = self.held[place], self.holdings_again[place]
        is_first = bool(held.holding.entries)
        settled = [0 if releases else max(0, entry.amount + surplus) for _, entry in held.entries]
        self.again.advance(self.now_us)
        for accounts, holding in ((self.accounts, held.holding), (self.again, again)):
            if releases:
                accounts.release(holding)
            else:
                accounts.settle(holding, settled)
        if not is_first:
            return
        for (row, entry), amount in zip(held.entries, settled, strict=True):
            if self.naive[row].counts(entry, self.now_us):
                self.honest[row] &= amount <= entry.amount
            entry.amount, entry.is_held = amount, False

    @rule(row=places, remaining=st.integers(0, 12), reset_us=st.none() | st.integers(0, 2 * MINUTE_US))
    def correct(self, row, remaining, reset_us):
        """The provider says that less remains: what is missing counts as used for as long as it says."""
        naive = self.naive[row]
        until_us = None if reset_us is None else self.now_us + reset_us
        self.both("correct", row, remaining, self.now_us, until_us)
        limit = naive.limit_at(self.now_us)
        missing = 0 if limit is None else limit - naive.used(self.now_us) - remaining
        if missing <= 0:
            return
        leaves_us = None
        if naive.window.kind == "rolling" and until_us is not None:
            leaves_us = min(until_us, self.now_us + naive.window.length_us)
        naive.entries.append(NaiveEntry(missing, self.now_us, is_held=False, leaves_us=leaves_us))

    @rule(row=places, amount=st.integers(0, 15))
    def change_limit(self, row, amount):
        """The provider tells another limit."""
        self.both("set_limit", row, amount, LimitSource.Headers)
        self.naive[row].limit, self.naive[row].grows_since_us = amount, None
        self.honest[row] &= self.naive[row].used(self.now_us) <= amount

    @rule(row=places, amount=st.integers(1, 200))
    def guess_limit(self, row, amount):
        """A limit is guessed from refusals and grows from then on."""
        self.both("set_limit", row, amount, LimitSource.Refusal)
        naive = self.naive[row]
        naive.limit, naive.grows_since_us = amount, self.now_us
        self.honest[row] &= naive.used(self.now_us) <= (naive.limit_at(self.now_us) or 0)

    @rule(row=places, amount=st.integers(1, 15), window=st.sampled_from(WINDOWS))
    def declare_anew(self, row, amount, window):
        """An administrator changes the window; what was used moves along, and what is held is settled."""
        naive = self.naive[row]
        self.both("close", row)
        self.both("open", limit_on(window, amount, str(row)))
        if naive.window != window:
            for held in self.held:
                held.entries = [
                    (of, NaiveEntry(e.amount, e.at_us, e.is_held, leaves_us=0) if of == row else e)
                    for of, e in held.entries
                ]
            naive.move(window, self.now_us)
        naive.limit, naive.grows_since_us, naive.most = amount, None, amount
        self.honest[row] &= naive.used(self.now_us) <= amount

    @rule(row=places)
    def close(self, row):
        """A limit is declared no longer: everything fits, and counting goes on."""
        self.both("close", row)
        self.naive[row].limit, self.naive[row].grows_since_us, self.naive[row].most = None, None, 2**53

    @rule(row=places, ask=st.integers(0, 16), later_us=st.integers(0, 2 * HOUR_US))
    def ask_when_it_fits(self, row, ask, later_us):
        """The instant that is named is the first at which so much fits; never means never."""
        naive, from_us = self.naive[row], self.now_us + later_us
        at_us = self.accounts.fits_at(row, ask, from_us)
        if at_us is None:
            assert not naive.fits(ask, from_us + 400 * DAY_US)
            return
        assert at_us >= from_us
        assert naive.fits(ask, at_us)
        assert at_us == from_us or not naive.fits(ask, at_us - 1)

    @rule(row=places, later_us=st.integers(0, 2 * DAY_US))
    def ask_for_a_report(self, row, later_us):
        """A report tells of any instant without moving the present."""
        naive, at_us = self.naive[row], self.now_us + later_us
        report = self.accounts.report(row, at_us)
        assert report.limit == naive.limit_at(at_us)
        assert report.settled + report.reserved == naive.used(at_us)
        assert report.reserved == naive.reserved(at_us)
        assert report.starts_us <= at_us
        assert report.ends_us is None or report.ends_us > at_us

    @invariant()
    def the_columns_are_the_model(self):
        """Used, reserved and limit are what the model counts, in every account."""
        for row, naive in enumerate(self.naive):
            assert self.accounts.used[row] == naive.used(self.now_us)
            assert self.accounts.reserved[row] == naive.reserved(self.now_us)
            limit = naive.limit_at(self.now_us)
            assert limit is None or self.accounts.limit[row] == limit

    @invariant()
    def nobody_is_over_the_limit_who_reserved_only_what_fits(self):
        """Settled and reserved never pass the limit unless somebody was dishonest in this window."""
        for row, naive in enumerate(self.naive):
            limit = naive.limit_at(self.now_us)
            if not naive.used(self.now_us):
                self.honest[row] = True
            assert not self.honest[row] or limit is None or self.accounts.used[row] <= limit

    @invariant()
    def what_is_kept_is_bounded_by_what_is_in_the_windows(self):
        """No entry outlives its window, and nothing waits for an account that has nothing."""
        for account in self.accounts._accounts:
            assert all(entry.ends_us > self.now_us for entry in account.entries)
        for line in self.accounts._lines.values():
            assert all(entry.ends_us > self.now_us for entry in line)

    def teardown(self):
        """A second fold of the same acts has the same columns, byte for byte."""
        if hasattr(self, "accounts"):
            self.again.advance(self.now_us)
            for name in ("limit", "used", "reserved", "ends_us", "rolls_for_us"):
                assert getattr(self.accounts, name).tobytes() == getattr(self.again, name).tobytes()

    def count_as_honest(self, asked, *, honest):
        for row, ask in asked.items():
            naive = self.naive[row]
            limit = naive.limit_at(self.now_us)
            over = limit is not None and naive.used(self.now_us) + ask > limit
            self.honest[row] &= honest or not over


AccountsMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAccountsUnderAnySequence = AccountsMachine.TestCase
