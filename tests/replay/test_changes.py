"""Changes from plain words: what can be read is read exactly, anything else is refused."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.application.as_of import moment_of
from apikeyrouter.application.what_if import Change
from apikeyrouter.domain.events import Prices
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.interfaces.what_if_views import change_of

TEXT = st.text(max_size=30) | st.from_regex(r"[a-z@/:=,.0-9*-]{0,30}", fullmatch=True)


@given(st.lists(TEXT, max_size=2), st.sampled_from(["added", "limits", "prices", "budgets"]))
def test_any_words_are_read_or_refused(words, kind):
    """Never another exception, whatever is typed."""
    with contextlib.suppress(InvalidRequestError):
        assert isinstance(change_of(**{kind: words}), Change)


@given(TEXT)
def test_any_moment_is_read_or_refused(text):
    """A position, an instant, or a refusal."""
    with contextlib.suppress(InvalidRequestError):
        moment = moment_of(text)
        assert moment.position is None or moment.position >= 0


def test_no_words_change_nothing():
    """The control run is asked for by saying nothing."""
    assert change_of().is_nothing


def test_words_mean_what_they_say():
    """One of each kind."""
    change = change_of(
        objective="cost",
        removed=["k1"],
        added=["azure:rpm=500,weight=2"],
        limits=["rpm=100", "k2@tpm=", 'k2@models=["a"]'],
        prices=["openai/org/model=2.5,10"],
        budgets=["b1=0.25"],
    )
    assert change.policy == policy_of("cost")
    assert change.removed == ("k1",)
    assert (change.added[0].provider_id, change.added[0].metadata) == ("azure", {"rpm": 500, "weight": 2})
    assert change.metadata == {"*": {"rpm": 100}, "k2": {"tpm": None, "models": ["a"]}}
    prices = Prices(input=2_500_000_000, output=10_000_000_000)
    assert change.prices == {("openai", "org/model"): prices}
    assert change.budgets == {"b1": 250_000_000}


def test_declarations_are_merged_and_lifted():
    """What is said of one key outranks what is said of all; nothing lifts an entry."""
    change = change_of(limits=["rpm=100", "k2@rpm=7", "k2@tpm="])
    assert change.declared("k1", {"rpm": 5, "label": "x"}) == {"rpm": 100, "label": "x"}
    assert change.declared("k2", {"rpm": 5, "tpm": 9}) == {"rpm": 7}
