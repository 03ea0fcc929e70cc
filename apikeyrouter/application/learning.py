"""What providers tell of limits beside their answers, recorded where it is news."""

from apikeyrouter.application.journal import Journal
from apikeyrouter.domain.accounts import AccountReport
from apikeyrouter.domain.columns import DISPATCHED
from apikeyrouter.domain.events import (
    Event,
    EventRef,
    QuotaCorrected,
    QuotaLimitLearned,
    quota_stream,
)
from apikeyrouter.domain.failures import Failure, FailureClass
from apikeyrouter.domain.keys import Key
from apikeyrouter.domain.quota_learning import (
    Fact,
    LimitLearned,
    Refusals,
    learn_from_headers,
    learn_from_refusals,
)
from apikeyrouter.domain.quota_limits import Scope, scope_of
from apikeyrouter.domain.rate_limits import RateLimitReport
from apikeyrouter.domain.windows import MINUTE_US

MEAN_LIFE_PER_HALF_LIFE = 1.4427
"""A sum that halves every so often counts the events of this many half-lives at a steady rate."""


class Learning:
    """Record limits that were learned, and amounts that others used."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def answered(
        self, key_id: str, model: str, reports: tuple[RateLimitReport, ...], at_us: int, evidence: EventRef
    ) -> None:
        """Learn from the headers of an answer."""
        key = self._journal.state.keys[key_id]
        accounts = self._accounts(key_id, model, at_us)
        facts = learn_from_headers(reports, accounts, _scope(key), model=model, at_us=at_us)
        for fact in facts:
            self._record(key, fact, at_us, evidence)

    def refused(self, key_id: str, model: str, failure: Failure, at_us: int, evidence: EventRef) -> None:
        """Learn from a refusal: from its headers, or, where there are none, from how often it comes."""
        if failure.limits:
            self.answered(key_id, model, failure.limits, at_us, evidence)
        elif failure.failure_class is FailureClass.RateLimited:
            self._guess(self._journal.state.keys[key_id], model, at_us, evidence)

    def _guess(self, key: Key, model: str, at_us: int, evidence: EventRef) -> None:
        state = self._journal.state
        load = state.columns.load
        counted = float(load.sums[DISPATCHED, key.row]) * load.scale(max(at_us, state.latest_us))
        refusals = Refusals(
            at_us=at_us,
            earlier_us=tuple(state.refusals_us.get(key.key_id, ()))[:-1],
            requests_last_minute=int(counted * MINUTE_US / (load.half_life_us * MEAN_LIFE_PER_HALF_LIFE)),
        )
        accounts = self._accounts(key.key_id, model, at_us)
        fact = learn_from_refusals(refusals, accounts, _scope(key), model=model)
        if fact is not None:
            self._record(key, fact, at_us, evidence)

    def _accounts(self, key_id: str, model: str, at_us: int) -> list[AccountReport]:
        quotas = self._journal.state.quotas
        return [quotas.accounts.report(row, at_us) for row in quotas.rows_for(key_id, model)]

    def _record(self, key: Key, fact: Fact, at_us: int, evidence: EventRef) -> None:
        account, event = _event_of(key, fact, at_us, evidence)
        self._journal.record_next(quota_stream(account), event)


def _event_of(key: Key, fact: Fact, at_us: int, evidence: EventRef) -> tuple[str, Event]:
    match fact:
        case LimitLearned(limit=limit):
            return limit.account_id, QuotaLimitLearned(
                at_us=at_us,
                key_id=key.key_id,
                dimension=limit.dimension,
                unit=fact.unit,
                limit=limit.amount,
                models=limit.models,
                kind=limit.window.kind,
                source=fact.source,
                evidence=(evidence,),
            )
        case _:
            return fact.account_id, QuotaCorrected(
                at_us=at_us,
                account=fact.account_id,
                remaining=fact.remaining,
                until_us=fact.until_us,
                evidence=(evidence,),
            )


def _scope(key: Key) -> Scope:
    return scope_of(key.provider_id, key.key_id, key.metadata)
