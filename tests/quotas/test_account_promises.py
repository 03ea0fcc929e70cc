"""What accounts promise, one at a time: two phases, windows that end, limits that change."""

import numpy as np
import pytest
from naive_accounts import DAY_US, HOUR_US, MINUTE_US, SECOND_US, fixed, instant_us, limit_on, rolling

from apikeyrouter.domain.accounts import NO_ROW, Accounts, LimitSource
from apikeyrouter.domain.columns import FIRST_CAPACITY
from apikeyrouter.domain.windows import bounds

NOW_US = instant_us("UTC", 2026, 5, 5, 10)


@pytest.fixture
def accounts() -> Accounts:
    accounts = Accounts()
    accounts.advance(NOW_US)
    return accounts


def fits(accounts: Accounts, row: int, ask: int = 1) -> bool:
    return bool(accounts.fits(np.array([row]), ask)[0])


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "America/Havana"]
)
@pytest.mark.parametrize("month", [3, 4, 9, 10, 11])
def test_a_hundred_a_day_serves_a_hundred_each_day(zone, month):
    """Asked every ten minutes, the days on which the clock changes serve exactly 100 as all others do."""
    accounts = Accounts()
    row = accounts.open(limit_on(fixed("day", zone), 100))
    start_us = bounds(fixed("day", zone), instant_us(zone, 2026, month, 1, 12))[0]
    served: dict[int, int] = {}
    for at_us in range(start_us, start_us + 31 * DAY_US, 10 * MINUTE_US):
        accounts.advance(at_us)
        if fits(accounts, row):
            accounts.settle(accounts.reserve([row], [1], at_us), [1])
            day_us = bounds(fixed("day", zone), at_us)[0]
            served[day_us] = served.get(day_us, 0) + 1
    assert set(list(served.values())[:-1]) == {100}


def test_a_limit_that_rolls_is_kept_in_every_stretch_of_its_length(accounts):
    """However a provider lays its minute, it never holds more than the limit."""
    row = accounts.open(limit_on(rolling("minute"), 7))
    served = []
    for at_us in range(NOW_US, NOW_US + 5 * MINUTE_US, SECOND_US):
        accounts.advance(at_us)
        if fits(accounts, row):
            accounts.settle(accounts.reserve([row], [1], at_us), [1])
            served.append(at_us)
    for first_us in served:
        assert sum(first_us <= at_us < first_us + MINUTE_US for at_us in served) <= 7


def test_settling_frees_what_was_not_used(accounts):
    """What was reserved and not used can be reserved by the next."""
    row = accounts.open(limit_on(rolling("minute"), 100))
    holding = accounts.reserve([row], [100], NOW_US)
    assert not fits(accounts, row)
    accounts.settle(holding, [30])
    assert fits(accounts, row, 70)
    assert not fits(accounts, row, 71)
    assert accounts.reserved[row] == 0


def test_more_than_was_reserved_is_settled_as_it_is(accounts):
    """The provider's count is the truth, even over the limit; a report shows no less than nothing left."""
    row = accounts.open(limit_on(fixed("day"), 100))
    accounts.settle(accounts.reserve([row], [100], NOW_US), [130])
    report = accounts.report(row, NOW_US)
    assert (report.settled, report.reserved, report.remaining) == (130, 0, 0)


def test_a_holding_ends_once(accounts):
    """Settling or releasing again changes nothing."""
    row = accounts.open(limit_on(fixed("day"), 100))
    holding = accounts.reserve([row, row], [10, 10], NOW_US)
    accounts.settle(holding, [5, 5])
    accounts.settle(holding, [9, 9])
    accounts.release(holding)
    assert (accounts.used[row], accounts.reserved[row]) == (10, 0)


def test_a_settlement_needs_an_amount_for_each_account(accounts):
    """A forgotten amount is an error, not a zero."""
    row = accounts.open(limit_on(fixed("day"), 100))
    with pytest.raises(ValueError, match="zip"):
        accounts.settle(accounts.reserve([row, row], [1, 1], NOW_US), [1])


@pytest.mark.parametrize("window", [fixed("hour"), rolling("hour")], ids=["fixed", "rolling"])
def test_a_holding_whose_window_is_over_changes_nothing_in_the_next(accounts, window):
    """The end of a window gives everything back, what is still held too, and a late settlement is lost."""
    row = accounts.open(limit_on(window, 10))
    late = accounts.reserve([row], [10], NOW_US)
    accounts.advance(NOW_US + HOUR_US)
    assert (accounts.used[row], accounts.reserved[row]) == (0, 0)
    accounts.reserve([row], [4], NOW_US + HOUR_US)
    accounts.settle(late, [9])
    assert (accounts.used[row], accounts.reserved[row]) == (4, 4)


def test_time_that_goes_back_stands_still(accounts):
    """A clock that was put back neither brings amounts back nor lets them leave out of order."""
    row = accounts.open(limit_on(rolling("minute"), 10))
    accounts.reserve([row], [3], NOW_US - HOUR_US)
    accounts.advance(NOW_US - HOUR_US)
    assert accounts.now_us == NOW_US
    accounts.advance(NOW_US + MINUTE_US - 1)
    assert accounts.used[row] == 3
    accounts.advance(NOW_US + MINUTE_US)
    assert accounts.used[row] == 0


def test_an_account_is_opened_once(accounts):
    """Declaring again gives the same row, and what is declared the same way leaves alone what was learned."""
    row = accounts.open(limit_on(rolling("minute"), 10))
    accounts.set_limit(row, 6, LimitSource.Headers)
    assert accounts.open(limit_on(rolling("minute"), 10)) == row
    assert accounts.limit[row] == 6
    assert accounts.open(limit_on(rolling("minute"), 20)) == row
    assert accounts.limit[row] == 20
    assert accounts.row_of("a") == row
    assert accounts.row_of("b") is None
    assert accounts.limit_of(row).amount == 20


def test_what_is_learned_is_no_declaration(accounts):
    """An account that was opened by what a provider said reports that nobody declared it."""
    row = accounts.open(limit_on(rolling("minute"), 10), LimitSource.Headers)
    assert accounts.report(row, NOW_US).declared is None
    assert accounts.report(row, NOW_US).source == LimitSource.Headers
    accounts.open(limit_on(rolling("minute"), 10))
    assert accounts.report(row, NOW_US).declared == 10


def test_a_closed_account_counts_on(accounts):
    """Without a limit everything fits and no correction counts; with one again, what was used is known."""
    row = accounts.open(limit_on(fixed("day"), 10))
    accounts.settle(accounts.reserve([row], [8], NOW_US), [8])
    accounts.close(row)
    assert fits(accounts, row, 10**9)
    assert accounts.fits_at(row, 10**9, NOW_US) == NOW_US
    accounts.correct(row, 0, NOW_US)
    assert (accounts.report(row, NOW_US).limit, accounts.report(row, NOW_US).remaining) == (None, None)
    accounts.open(limit_on(fixed("day"), 10))
    assert fits(accounts, row, 2)
    assert not fits(accounts, row, 3)


def test_the_row_that_is_none_fits_everything(accounts):
    """However many accounts there are, no row is one that everything fits into."""
    for number in range(3 * FIRST_CAPACITY):
        accounts.open(limit_on(rolling("minute"), 0, str(number)))
        mask = accounts.fits(np.array([0, NO_ROW, number]), 1)
        assert mask.tolist() == [False, True, False]


def test_a_correction_leaves_when_the_provider_says_so(accounts):
    """What others used counts until the reset, in order with our own, and for one window at most."""
    row = accounts.open(limit_on(rolling("minute"), 10))
    accounts.reserve([row], [2], NOW_US)
    accounts.correct(row, 1, NOW_US + SECOND_US, NOW_US + 20 * SECOND_US)
    assert accounts.used[row] == 9
    accounts.advance(NOW_US + 20 * SECOND_US)
    assert accounts.used[row] == 2
    accounts.correct(row, 5, accounts.now_us, NOW_US + DAY_US)
    accounts.advance(NOW_US + 80 * SECOND_US)
    assert accounts.used[row] == 0


def test_a_correction_counts_from_when_it_was_heard(accounts):
    """Without a reset, what others used leaves one window after the provider told of it."""
    row = accounts.open(limit_on(rolling("minute"), 10))
    accounts.correct(row, 4, NOW_US + 10 * SECOND_US)
    assert accounts.fits_at(row, 10, accounts.now_us) == NOW_US + 70 * SECOND_US


def test_a_correction_that_is_over_when_it_is_heard_counts_nothing(accounts):
    """A reset that lies behind us gave everything back; less than nothing cannot remain."""
    row = accounts.open(limit_on(rolling("minute"), 10))
    accounts.correct(row, 1, NOW_US, NOW_US)
    assert accounts.used[row] == 0
    accounts.correct(row, -5, NOW_US)
    assert accounts.used[row] == 10


def test_more_that_remains_is_no_correction(accounts):
    """The provider may be behind with counting: nothing is ever given back by it."""
    row = accounts.open(limit_on(fixed("day"), 10))
    accounts.reserve([row], [4], NOW_US)
    accounts.correct(row, 9, NOW_US)
    assert accounts.used[row] == 4


def test_a_guessed_limit_grows_to_what_is_declared(accounts):
    """5 % of the estimate come back each minute; a declaration is never passed."""
    row = accounts.open(limit_on(rolling("minute"), 150))
    accounts.set_limit(row, 100, LimitSource.Refusal)
    seen = []
    for minute in range(12):
        accounts.advance(NOW_US + minute * MINUTE_US + 1)
        seen.append(int(accounts.limit[row]))
    assert seen == [100, 105, 110, 115, 120, 125, 130, 135, 140, 145, 150, 150]
    assert not accounts._wakes
    accounts.set_limit(row, 60, LimitSource.Headers)
    accounts.advance(NOW_US + DAY_US)
    assert accounts.limit[row] == 60


def test_a_guess_does_not_outlive_its_account(accounts):
    """A closed account has no limit, and none grows back."""
    row = accounts.open(limit_on(rolling("minute"), 150))
    accounts.set_limit(row, 100, LimitSource.Refusal)
    accounts.close(row)
    accounts.advance(NOW_US + HOUR_US)
    assert fits(accounts, row, 10**9)
    assert accounts.report(row, NOW_US + HOUR_US).limit is None


def test_a_full_account_with_a_growing_limit_fits_when_it_has_grown(accounts):
    """The first instant counts what leaves and what grows, whichever is sooner."""
    row = accounts.open(limit_on(fixed("day"), 1000))
    accounts.settle(accounts.reserve([row], [108], NOW_US), [108])
    accounts.set_limit(row, 100, LimitSource.Refusal)
    assert accounts.fits_at(row, 1, NOW_US) == NOW_US + 2 * MINUTE_US
    assert accounts.fits_at(row, 1001, NOW_US) is None
    assert accounts.fits_at(row, 900, NOW_US) == bounds(fixed("day"), NOW_US)[1]


def test_horizons_tell_how_long_until_everything_is_back(accounts):
    """A fixed window gives back at its end, whatever its length; a rolling one after its length."""
    zone = "Europe/Berlin"
    rows = [
        accounts.open(limit_on(window, 10, str(number)))
        for number, window in enumerate([fixed("day", zone), rolling("minute"), fixed("month")])
    ]
    day_us, month_us = (bounds(window, NOW_US)[1] - NOW_US for window in (fixed("day", zone), fixed("month")))
    assert accounts.horizon_us(np.array(rows), NOW_US).tolist() == [day_us, MINUTE_US, month_us]


def test_a_report_tells_where_the_window_stands(accounts):
    """A fixed window has start and end; a rolling one started a length ago and next gives back its oldest."""
    day = accounts.open(limit_on(fixed("day"), 10, "day"))
    minute = accounts.open(limit_on(rolling("minute"), 10, "minute"))
    assert accounts.report(minute, NOW_US).ends_us is None
    accounts.reserve([day, minute], [1, 2], NOW_US)
    report = accounts.report(day, NOW_US)
    assert (report.starts_us, report.ends_us) == bounds(fixed("day"), NOW_US)
    report = accounts.report(minute, NOW_US + SECOND_US)
    assert (report.starts_us, report.ends_us) == (NOW_US + SECOND_US - MINUTE_US, NOW_US + MINUTE_US)
    assert (report.settled, report.reserved, report.remaining) == (0, 2, 8)


def test_what_has_left_its_window_takes_no_room(accounts):
    """Twenty thousand requests leave no more behind than fit into the window."""
    row = accounts.open(limit_on(rolling("second"), 10))
    for number in range(20_000):
        holding = accounts.reserve([row], [1], NOW_US + number * 10_000)
        accounts.settle(holding, [1])
    assert len(accounts._accounts[row].entries) <= 100
    assert all(len(line) <= 100 for line in accounts._lines.values())
