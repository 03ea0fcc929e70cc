"""What providers' answers tell of limits that nobody declared, and of what others use; only what is new.

Numbers in headers are believed before guesses, and a declared limit is never raised. What is learned holds
for the model that was asked, since that is how providers count.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from apikeyrouter.domain.accounts import AccountReport, LimitSource
from apikeyrouter.domain.estimates import estimated_limit
from apikeyrouter.domain.quota_limits import MOST_AMOUNT, QUOTA_UNITS, Dimension, Limit, Scope
from apikeyrouter.domain.rate_limits import RateLimitReport
from apikeyrouter.domain.windows import DAY_US, LENGTH_US, MINUTE_US, SECOND_US, Kind, Unit

NOTED_PERCENT: Final = 2
"""By how much of a limit the provider's count must be ahead of ours before that is news."""
DAY_TOLERANCE_PERCENT: Final = 2
REFUSALS_APART_US: Final = SECOND_US
REFUSALS_TOGETHER_US: Final = 10 * MINUTE_US
EVEN_PERCENT: Final = 5
UNEVEN_PERCENT: Final = 20
LEAST_TELLING: Final = 2
"""How near to evenly, and how far from it, and of how much missing at least, tells how a window runs."""
LEAST_REFUSED_RATE: Final = 5
"""Below so many requests a minute, it is not the rate that was refused."""


class LimitLearned(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that was not known so far, or is another now."""

    limit: Limit
    unit: Unit
    source: str
    previous: int | None = None


class QuotaCorrected(msgspec.Struct, frozen=True, kw_only=True):
    """Less remains of an account than was believed: somebody else uses the key as well.

    Of a bucket, more may remain too: what was reserved had a smaller part in it.
    """

    account_id: str
    remaining: int
    believed: int
    until_us: int | None = None


class Refusals(msgspec.Struct, frozen=True, kw_only=True):
    """A 429 that names no numbers, those like it before, and the rate that we asked at when it came."""

    at_us: int
    earlier_us: tuple[int, ...]
    requests_last_minute: int


Fact = LimitLearned | QuotaCorrected


def learn_from_headers(
    reports: Sequence[RateLimitReport],
    accounts: Sequence[AccountReport],
    scope: Scope,
    *,
    model: str,
    at_us: int,
) -> list[Fact]:
    """Return what the headers of an answer say that the accounts of its key and model do not know yet."""
    known = [account for account in accounts if account.limit is not None and _covers(account, model)]
    return [
        fact
        for report in reports
        if _is_credible(report)
        for fact in _facts(_Heard(report, known, scope, model), at_us)
    ]


def learn_from_refusals(
    refusals: Refusals, accounts: Sequence[AccountReport], scope: Scope, *, model: str
) -> LimitLearned | None:
    """Guess a limit of requests a minute from two refusals that are near, but not of one burst."""
    known = [a for a in accounts if a.limit is not None and _counts_requests_a_minute(a)]
    limit = scope.limit(
        Dimension.Requests, "minute", estimated_limit(refusals.requests_last_minute), (model,)
    )
    own = next((a for a in known if a.account_id == limit.account_id), None)
    if own is not None and own.source == LimitSource.Headers:
        return None
    guessed_us = own.since_us if own is not None and own.source == LimitSource.Refusal else None
    lowest = min((a.limit for a in known if a.limit is not None and _covers(a, model)), default=MOST_AMOUNT)
    if not _is_second(refusals, guessed_us) or limit.amount >= lowest:
        return None
    previous = None if own is None else own.limit
    return LimitLearned(limit=limit, unit="minute", source=LimitSource.Refusal, previous=previous)


def unit_of(report: RateLimitReport) -> Unit | None:
    """Return the window that a report speaks of; None for one of a length that is not counted here.

    Where it does not say, it is a minute, unless the reset betrays a day: it is further away than a minute,
    or it is just when a bucket that fills within a day will have made good what is missing of the limit.
    """
    if report.window_us is not None:
        return next((unit for unit in QUOTA_UNITS if LENGTH_US[unit] == report.window_us), None)
    reset_us = report.reset_after_us
    if reset_us is None:
        return "minute"
    if reset_us > MINUTE_US:
        return "day"
    missing = (report.limit or 0) - (report.remaining or 0)
    if missing <= 0 or report.limit is None or report.remaining is None:
        return "minute"
    off_us = abs(reset_us * report.limit - DAY_US * missing)
    return "day" if off_us * 100 <= DAY_US * missing * DAY_TOLERANCE_PERCENT else "minute"


def gives_back_evenly(report: RateLimitReport, length_us: int) -> bool | None:
    """Tell whether what was used comes back evenly, as in a bucket; None where the report cannot tell.

    A bucket is full again when the share that is missing of it has had that share of the window to flow in.
    """
    limit, remaining, reset_us = report.limit, report.remaining, report.reset_after_us
    if limit is None or remaining is None or reset_us is None:
        return None
    missing = limit - remaining
    if missing < LEAST_TELLING or missing * 100 < limit * NOTED_PERCENT:
        return None
    off_us = abs(reset_us * limit - length_us * missing)
    if off_us * 100 <= length_us * missing * EVEN_PERCENT + length_us * 100:
        return True
    return False if off_us * 100 >= length_us * limit * UNEVEN_PERCENT else None


class _Standing(NamedTuple):
    account_id: str
    limit: int
    reserved: int
    settled: int
    is_bucket: bool


class _Heard:
    """One report, the window that it speaks of, and the account that it is about, if there is one."""

    def __init__(
        self, report: RateLimitReport, known: Sequence[AccountReport], scope: Scope, model: str
    ) -> None:
        self.report = report
        self.scope = scope
        self.model = model
        self.dimension = Dimension(report.dimension)
        same = sorted((a for a in known if a.dimension is self.dimension), key=_breadth)
        self.unit = self._unit(same)
        self.account = self._account([a for a in same if a.window.unit == self.unit])

    def _unit(self, same: Sequence[AccountReport]) -> Unit | None:
        if self.report.window_us is None and self.report.limit is not None:
            agreeing = [a.window.unit for a in same if self.report.limit in {a.limit, a.declared}]
            if agreeing:
                return agreeing[0]
        return unit_of(self.report)

    def _account(self, same: Sequence[AccountReport]) -> AccountReport | None:
        """Find the account of this model alone, else one with the same limit: it is the one that is meant."""
        limit = self.report.limit
        meant = (
            a for a in same if a.models == (self.model,) or limit is None or limit in {a.limit, a.declared}
        )
        return next(meant, None)

    def learned(self) -> LimitLearned | None:
        """Return the limit of this report where it is news."""
        limit, account = self.report.limit, self.account
        if limit is None or self.unit is None:
            return None
        if account is not None and account.declared is not None:
            limit = min(limit, account.declared)
        same = account is not None and account.limit == limit
        models = account.models if account is not None and same else (self.model,)
        told = self.scope.limit(self.dimension, self.unit, limit, models, self._kind(self.unit))
        if account is not None and same and account.window.kind == told.window.kind:
            return None
        return LimitLearned(
            limit=told,
            unit=self.unit,
            source=LimitSource.Headers,
            previous=None if account is None else account.limit,
        )

    def _kind(self, unit: Unit) -> Kind | None:
        """Return how the window runs, if the report shows it, else as it was believed to run."""
        evenly = gives_back_evenly(self.report, LENGTH_US[unit])
        believed = None if self.account is None else self.account.window.kind
        if evenly:
            return "bucket"
        return None if evenly is False and believed == "bucket" else believed

    def standing(self, learned: LimitLearned | None) -> _Standing | None:
        """Return how the account stands once its limit has been learned; what is new has not been used."""
        account = self.account
        if learned is None:
            if account is None or account.limit is None:
                return None
            is_bucket = account.window.kind == "bucket"
            return _Standing(account.account_id, account.limit, account.reserved, account.settled, is_bucket)
        amount, account_id = learned.limit.amount, learned.limit.account_id
        if account is None or account.account_id != account_id:
            return _Standing(account_id, amount, 0, 0, is_bucket=False)
        # What is held moves along as settled when the window changes, so more is not believed at once.
        return _Standing(account_id, amount, account.reserved, account.settled, is_bucket=False)


def _facts(heard: _Heard, at_us: int) -> Iterator[Fact]:
    learned = heard.learned()
    if learned is not None:
        yield learned
    corrected = _corrected(heard, learned, at_us)
    if corrected is not None:
        yield corrected


def _corrected(heard: _Heard, learned: LimitLearned | None, at_us: int) -> QuotaCorrected | None:
    remaining, reset_us = heard.report.remaining, heard.report.reset_after_us
    standing = heard.standing(learned)
    if remaining is None or standing is None or reset_us == 0:
        return None
    believed = standing.limit - standing.settled - standing.reserved
    ahead = believed - remaining
    behind = remaining - standing.reserved - believed if standing.is_bucket else 0
    news = max(ahead if ahead > standing.reserved else 0, behind)
    if news * 100 <= standing.limit * NOTED_PERCENT:
        return None
    return QuotaCorrected(
        account_id=standing.account_id,
        remaining=remaining,
        believed=believed,
        until_us=None if reset_us is None else at_us + reset_us,
    )


def _is_credible(report: RateLimitReport) -> bool:
    """Refuse absurd numbers; a limit of zero under which an answer came is none."""
    limit_is = report.limit is None or 1 <= report.limit <= MOST_AMOUNT
    remaining_is = report.remaining is None or 0 <= report.remaining <= MOST_AMOUNT
    reset_is = report.reset_after_us is None or report.reset_after_us >= 0
    return limit_is and remaining_is and reset_is


def _is_second(refusals: Refusals, guessed_us: int | None) -> bool:
    """Tell whether an earlier refusal is near enough to confirm this one, and later than the last guess."""
    first_us = refusals.at_us - REFUSALS_TOGETHER_US
    last_us = refusals.at_us - REFUSALS_APART_US
    confirmed = any(
        first_us <= earlier_us <= last_us and (guessed_us is None or earlier_us > guessed_us)
        for earlier_us in refusals.earlier_us
    )
    return confirmed and refusals.requests_last_minute >= LEAST_REFUSED_RATE


def _counts_requests_a_minute(account: AccountReport) -> bool:
    return account.dimension is Dimension.Requests and account.window.unit == "minute"


def _covers(account: AccountReport, model: str) -> bool:
    return account.models is None or model in account.models


def _breadth(account: AccountReport) -> int:
    return MOST_AMOUNT if account.models is None else len(account.models)
