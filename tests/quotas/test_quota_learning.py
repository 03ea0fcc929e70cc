"""What is learned from a provider's answers: what is new, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive_accounts import DAY_US, HOUR_US, MINUTE_US, SECOND_US, instant_us

from apikeyrouter.domain.accounts import Accounts, LimitSource
from apikeyrouter.domain.estimates import estimated_limit, grown_at_us, grown_limit, next_growth_us
from apikeyrouter.domain.key_metadata import check_metadata
from apikeyrouter.domain.quota_learning import (
    LimitLearned,
    QuotaCorrected,
    Refusals,
    learn_from_headers,
    learn_from_refusals,
    unit_of,
)
from apikeyrouter.domain.quota_limits import limits_of, scope_of
from apikeyrouter.domain.rate_limits import RateLimitReport

NOW_US = instant_us("UTC", 2026, 5, 5, 10)


class Pupil:
    """A key that hears what its provider says, and does what follows from it."""

    def __init__(self, **metadata):
        self.metadata = check_metadata(metadata)
        self.scope = scope_of("openai", "k", self.metadata)
        self.accounts = Accounts()
        self.accounts.advance(NOW_US)
        for limit in limits_of("openai", "k", self.metadata):
            self.accounts.open(limit)

    def reports(self):
        return [self.accounts.report(row, self.accounts.now_us) for row in range(self.accounts.count)]

    def hear(self, *reports: RateLimitReport, model="m"):
        """Return what is new, and take it in."""
        at_us = self.accounts.now_us
        facts = learn_from_headers(reports, self.reports(), self.scope, model=model, at_us=at_us)
        self.take_in(facts)
        return facts

    def suffer(self, *earlier_us: int, rate: int = 100, model="m"):
        refusals = Refusals(at_us=self.accounts.now_us, earlier_us=earlier_us, requests_last_minute=rate)
        fact = learn_from_refusals(refusals, self.reports(), self.scope, model=model)
        self.take_in([] if fact is None else [fact])
        return fact

    def take_in(self, facts):
        for fact in facts:
            if isinstance(fact, LimitLearned):
                self.accounts.open(fact.limit, fact.source)
            else:
                row = self.accounts.row_of(fact.account_id)
                self.accounts.correct(row, fact.remaining, self.accounts.now_us, fact.until_us)

    def use(self, account_id: str, amount: int, *, settled: bool = True):
        row = self.accounts.row_of(account_id)
        holding = self.accounts.reserve([row], [amount], self.accounts.now_us)
        if settled:
            self.accounts.settle(holding, [amount])

    def limit(self, account_id: str) -> int | None:
        row = self.accounts.row_of(account_id)
        return None if row is None else self.accounts.report(row, self.accounts.now_us).limit

    def remaining(self, account_id: str) -> int | None:
        return self.accounts.report(self.accounts.row_of(account_id), self.accounts.now_us).remaining


def requests(limit=None, remaining=None, reset_us=None, window_us=None, dimension="requests"):
    return RateLimitReport(dimension, limit, remaining, reset_us, window_us)


OWN = "key-k/requests/minute/m"


def test_a_limit_that_nobody_declared_is_learned_for_the_model():
    """The first answer tells the limit; it holds for the model that was asked, and for no other."""
    pupil = Pupil()
    (learned,) = pupil.hear(requests(500, 499))
    assert learned.limit.account_id == OWN
    assert (learned.limit.amount, learned.unit, learned.source) == (500, "minute", LimitSource.Headers)
    assert learned.previous is None
    assert not learned.limit.covers("other")
    assert pupil.hear(requests(500, 498)) == []
    assert [type(fact) for fact in pupil.hear(requests(100, 99), model="other")] == [LimitLearned]
    assert pupil.hear(requests(500, 497)) == []


def test_each_dimension_is_learned_by_itself():
    """Requests, tokens, and tokens of each direction are accounts of their own."""
    facts = Pupil().hear(
        *(requests(limit, limit, dimension=name) for name, limit in [("tokens", 9), ("input_tokens", 8)]),
        requests(7, 7, dimension="output_tokens"),
    )
    assert [fact.limit.account_id for fact in facts] == [
        "key-k/tokens/minute/m",
        "key-k/input_tokens/minute/m",
        "key-k/output_tokens/minute/m",
    ]


def test_what_was_used_before_is_learned_along_with_the_limit():
    """A provider that tells limit and remainder at once is believed both."""
    pupil = Pupil()
    learned, corrected = pupil.hear(requests(500, 3, 20 * SECOND_US))
    assert isinstance(learned, LimitLearned)
    assert corrected == QuotaCorrected(
        account_id=OWN, remaining=3, believed=500, until_us=NOW_US + 20 * SECOND_US
    )
    assert pupil.remaining(OWN) == 3


def test_a_declared_limit_that_the_provider_confirms_is_no_news():
    """Declared for the key, the model, or a pool with the model: the same number says nothing new."""
    for name in ("rpm", "rpm:m", "rpm:m|n"):
        pupil = Pupil(**{name: 500})
        assert pupil.hear(requests(500, 499)) == []
        assert pupil.accounts.count == 1


def test_a_declared_limit_is_lowered_by_the_provider_and_never_raised():
    """Who declares less than the provider allows wants less; who declares more is told better."""
    pupil = Pupil(**{"rpm:m": 500})
    assert pupil.hear(requests(600, 600)) == []
    (learned,) = pupil.hear(requests(300, 300))
    assert (learned.limit.amount, learned.previous, learned.limit.account_id) == (300, 500, OWN)
    (learned,) = pupil.hear(requests(600, 600))
    assert (learned.limit.amount, learned.previous) == (500, 300)


def test_limits_of_several_models_do_not_chase_each_other():
    """One key, three models with limits of their own: after the first answer of each, nothing is new."""
    pupil = Pupil(rpm=10_000)
    limits = {"a": 500, "b": 60, "c": 10_000}
    first = [pupil.hear(requests(limit, limit), model=model) for model, limit in limits.items()]
    assert [len(facts) for facts in first] == [1, 1, 0]
    for _ in range(3):
        assert [pupil.hear(requests(limit, limit), model=model) for model, limit in limits.items()] == [
            []
        ] * 3
    assert pupil.limit("key-k/requests/minute") == 10_000


def test_a_limit_of_a_pool_is_not_changed_by_one_of_its_models():
    """What differs for one model of a pool becomes that model's own."""
    pupil = Pupil(**{"rpm:m|n": 30})
    (learned,) = pupil.hear(requests(20, 20))
    assert learned.limit.account_id == OWN
    assert pupil.hear(requests(30, 30), model="n") == []
    assert pupil.limit("key-k/requests/minute/m|n") == 30


def test_less_than_is_believed_is_news_only_beyond_what_is_in_flight_and_two_percent():
    """What the provider has not heard of yet, and small change, is no reason to write an event."""
    pupil = Pupil(**{"rpm:m": 1000})
    pupil.use(OWN, 100)
    pupil.use(OWN, 50, settled=False)
    assert pupil.hear(requests(1000, 850)) == []
    assert pupil.hear(requests(1000, 800)) == []
    (corrected,) = pupil.hear(requests(1000, 799))
    assert (corrected.remaining, corrected.believed, corrected.until_us) == (799, 850, None)
    assert pupil.remaining(OWN) == 799
    pupil = Pupil(**{"rpm:m": 1000})
    assert pupil.hear(requests(1000, 980)) == []
    assert len(pupil.hear(requests(1000, 979))) == 1


def test_what_is_back_already_is_no_news():
    """With a reset of zero nothing is missing, whatever the remainder says."""
    assert Pupil(rpm=100).hear(requests(100, 3, 0)) == []


def test_more_than_is_believed_is_no_news():
    """The provider may be late with counting."""
    pupil = Pupil(**{"rpm:m": 1000})
    pupil.use(OWN, 900)
    assert pupil.hear(requests(1000, 999)) == []


def test_a_remainder_without_a_limit_corrects_the_account_that_is_known():
    """The narrowest account of that dimension is meant; without one there is nothing to correct."""
    assert Pupil().hear(requests(None, 3)) == []
    pupil = Pupil(**{"rpm": 1000, "rpm:m": 100, "rpm:m|n": 200})
    (corrected,) = pupil.hear(requests(None, 3))
    assert corrected.account_id == OWN
    pupil.accounts.close(pupil.accounts.row_of(OWN))
    (corrected,) = pupil.hear(requests(None, 3))
    assert corrected.account_id == "key-k/requests/minute/m|n"
    (corrected,) = Pupil(rpm=1000).hear(requests(None, 3))
    assert corrected.account_id == "key-k/requests/minute"


def test_an_account_of_another_model_is_never_meant():
    """Two models with the same limit have an account each."""
    pupil = Pupil(**{"rpm:other": 500})
    (learned,) = pupil.hear(requests(500, 500))
    assert learned.limit.account_id == OWN


def test_a_closed_account_is_opened_again_by_what_is_learned():
    """A limit that is declared no longer may still be told by the provider."""
    pupil = Pupil(**{"rpm:m": 100})
    pupil.accounts.close(0)
    assert [type(fact) for fact in pupil.hear(requests(100, 100))] == [LimitLearned]
    assert pupil.limit(OWN) == 100


@pytest.mark.parametrize(
    "report",
    [
        requests(0, 0),
        requests(-5, 3),
        requests(2**53 + 1, 3),
        requests(500, -1),
        requests(500, 2**60),
        requests(500, 3, -1),
        requests(500, 3, 1, window_us=10 * SECOND_US),
        requests(),
    ],
)
def test_absurd_numbers_teach_nothing(report):
    """A limit of nothing under which an answer came, negative and huge numbers, and strange windows."""
    assert Pupil().hear(report) == []


@pytest.mark.parametrize(
    ("report", "unit"),
    [
        (requests(14400, 14370, 179_560_000), "day"),  # as Groq documents its requests a day
        (requests(10_000, 9_999, 8_640_000), "day"),  # a day's bucket that lacks one
        (requests(10_000, 9_999, 6_000), "minute"),  # a minute's bucket that lacks one
        (requests(18_000, 17_997, 7_660_000), "minute"),
        (requests(500, 499, 30 * SECOND_US), "minute"),
        (requests(500, 500, 0), "minute"),
        (requests(500, 500, MINUTE_US), "minute"),
        (requests(500, 500, MINUTE_US + 1), "day"),
        (requests(500, None, 5 * HOUR_US), "day"),
        (requests(500, 400, None), "minute"),
        (requests(None, 400, SECOND_US), "minute"),
        (requests(500, 400, 5 * HOUR_US, window_us=MINUTE_US), "minute"),
        (requests(500, 400, 1, window_us=SECOND_US), "second"),
        (requests(500, 400, 1, window_us=HOUR_US), "hour"),
        (requests(500, 400, 1, window_us=DAY_US), "day"),
        (requests(500, 400, 1, window_us=30 * DAY_US), "month"),
        (requests(500, 400, 1, window_us=7), None),
    ],
)
def test_the_window_is_told_by_the_reset_where_nothing_else_tells_it(report, unit):
    """A reset beyond a minute, or a bucket that fills in a day, is a day's; otherwise it is a minute's."""
    assert unit_of(report) == unit


def test_a_known_limit_tells_the_window_better_than_a_reset():
    """Once a day's limit is known, the same number is that limit, however near its reset."""
    pupil = Pupil(rpd=14400)
    assert pupil.hear(requests(14400, 14400, 3 * SECOND_US)) == []
    assert pupil.accounts.count == 1


reports = st.builds(
    RateLimitReport,
    dimension=st.sampled_from(["requests", "tokens", "input_tokens"]),
    limit=st.none() | st.integers(-1, 1000),
    remaining=st.none() | st.integers(-1, 1000),
    reset_after_us=st.none() | st.integers(0, 2 * DAY_US),
    window_us=st.none() | st.sampled_from([SECOND_US, MINUTE_US, DAY_US, 5]),
)
declarations = st.dictionaries(
    st.sampled_from(["rpm", "rpd", "rpm:m", "rpm:m|n", "tpm", "tpm:m", "itpm:m"]), st.integers(1, 1000)
)


@given(declarations, st.lists(reports, max_size=4), st.integers(0, 300))
def test_what_was_taken_in_is_no_news(declared, heard, used):
    """The same headers again, with nothing happening between, never tell anything new."""
    pupil = Pupil(**declared)
    for report in pupil.reports():
        pupil.use(report.account_id, used)
    for report in heard:
        pupil.hear(report)
        assert pupil.hear(report) == []


@given(declarations, st.lists(reports, max_size=4))
def test_what_is_learned_never_allows_more_than_is_declared(declared, heard):
    """Whatever a provider says, a declared account keeps its limit or gets a lower one."""
    pupil = Pupil(**declared)
    for report in heard:
        pupil.hear(report)
    for report in pupil.reports():
        assert report.declared is None or report.limit <= report.declared


class TestRefusals:
    """What is made of a 429 that names no numbers."""

    def test_one_refusal_is_no_limit(self):
        """A single refusal may have any cause."""
        assert Pupil().suffer() is None

    def test_two_refusals_make_an_estimate_below_the_rate(self):
        """The second one makes a guess of nine tenths of what was asked for in a minute."""
        pupil = Pupil()
        learned = pupil.suffer(NOW_US - 30 * SECOND_US)
        assert (learned.limit.account_id, learned.limit.amount, learned.source) == (
            OWN,
            90,
            LimitSource.Refusal,
        )
        assert pupil.limit(OWN) == 90

    @pytest.mark.parametrize("ago_us", [0, SECOND_US - 1, 10 * MINUTE_US + 1])
    def test_refusals_of_one_burst_or_of_another_time_do_not_confirm_each_other(self, ago_us):
        """Sixty calls refused in one second are one refusal; one of an hour ago is forgotten."""
        assert Pupil().suffer(NOW_US - ago_us) is None

    def test_a_low_rate_was_not_what_was_refused(self):
        """Who asked four times a minute is refused for something else."""
        assert Pupil().suffer(NOW_US - 30 * SECOND_US, rate=4) is None
        assert Pupil().suffer(NOW_US - 30 * SECOND_US, rate=5) is not None

    def test_numbers_are_believed_before_guesses(self):
        """A limit from headers is not overruled by a refusal without numbers, and overrules a guess."""
        pupil = Pupil()
        pupil.hear(requests(500, 500))
        assert pupil.suffer(NOW_US - 30 * SECOND_US) is None
        pupil = Pupil()
        pupil.suffer(NOW_US - 30 * SECOND_US)
        (learned,) = pupil.hear(requests(500, 500))
        assert (learned.limit.amount, learned.previous) == (500, 90)

    def test_a_limit_that_was_given_up_is_no_number(self):
        """What headers once said of a closed account does not stand against a guess."""
        pupil = Pupil()
        pupil.hear(requests(500, 500))
        pupil.accounts.close(0)
        assert pupil.suffer(NOW_US - 30 * SECOND_US) is not None

    def test_a_guess_that_is_no_lower_than_what_is_known_is_no_news(self):
        """A rate that was refused above a lower limit says nothing about that limit."""
        assert Pupil(rpm=90).suffer(NOW_US - 30 * SECOND_US) is None
        assert Pupil(rpm=91).suffer(NOW_US - 30 * SECOND_US) is not None
        assert Pupil(**{"rpm:other": 5}).suffer(NOW_US - 30 * SECOND_US) is not None

    def test_a_new_guess_needs_two_new_refusals(self):
        """Refusals that led to a guess are spent."""
        pupil = Pupil()
        first_us = NOW_US - 30 * SECOND_US
        assert pupil.suffer(first_us) is not None
        pupil.accounts.advance(NOW_US + 5 * SECOND_US)
        assert pupil.suffer(first_us, NOW_US, rate=50) is None
        pupil.accounts.advance(NOW_US + 10 * SECOND_US)
        learned = pupil.suffer(first_us, NOW_US, NOW_US + 5 * SECOND_US, rate=50)
        assert (learned.limit.amount, learned.previous) == (45, 90)


@given(st.integers(1, 10**6), st.integers(0, 10**7), st.integers(0, 10**6))
def test_an_estimate_reaches_an_amount_exactly_when_it_is_said_to(estimate, more, minute):
    """The instant that is named is the first whole minute at which the estimate has grown so far."""
    at_us = grown_at_us(estimate, NOW_US, estimate + more)
    assert grown_limit(estimate, NOW_US, at_us) >= estimate + more
    assert more == 0 or grown_limit(estimate, NOW_US, at_us - 1) < estimate + more
    now_us = NOW_US + minute * SECOND_US
    next_us = next_growth_us(NOW_US, now_us)
    assert now_us < next_us <= now_us + MINUTE_US
    assert grown_limit(estimate, NOW_US, next_us - 1) == grown_limit(estimate, NOW_US, now_us)


def test_an_estimate_is_never_nothing():
    """Nine tenths of a request are one request, and time before the estimate takes nothing away."""
    assert estimated_limit(1) == 1
    assert grown_limit(10, NOW_US, NOW_US - DAY_US) == 10
