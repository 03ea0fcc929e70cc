"""An exact count is a bound only where it is known who counts."""

import pytest
from money_node import START_US, MoneyNode

from apikeyrouter.application.second_look import decide_twice
from apikeyrouter.domain.budget_acts import open_budget
from apikeyrouter.domain.budget_terms import parse_terms
from apikeyrouter.domain.events import ModelOffer, RequestFacts, RouteDecided, budget_stream
from apikeyrouter.domain.models.budget import BudgetScope
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.questions import RouteQuestion

BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
DOLLAR_A_TOKEN = ModelOffer(model="m", input_nano_usd_per_mtok=10**15, output_nano_usd_per_mtok=0)
HERE = "https://api.openai.com/v1"
ELSEWHERE = "http://127.0.0.1:8000/v1"


def is_served(*base_urls: str | None) -> bool:
    """Tell whether 500 bytes that are 5 tokens pass a budget for 100, with a key at each address."""
    node = MoneyNode()
    for number, base_url in enumerate(base_urls):
        node.provider(f"p{number}", DOLLAR_A_TOKEN, base_url=base_url)
        node.key(f"k{number}", f"p{number}")
    terms = parse_terms(100, "total", "hard")
    opened = open_budget(terms, at_us=START_US, actor="t", scope=BudgetScope.Global)
    node.record(budget_stream("b"), opened)
    facts = RequestFacts(operation="chat", model="m", input_tokens_bound=500, output_tokens_bound=1)
    question = RouteQuestion(facts=facts, policy=policy_of(None), attempt=1, tried=(), at_us=START_US, seed=1)
    _, decision = decide_twice(node.state, question, BODY, lambda _model, _texts: 5)
    return isinstance(decision, RouteDecided)


@pytest.mark.parametrize("base_url", [HERE, "https://API.openai.com", "https://eu.api.openai.com/v1"])
def test_openai_counts_as_its_vocabularies_say(base_url):
    """On any of its hosts."""
    assert is_served(base_url)


@pytest.mark.parametrize(
    "base_url",
    [
        ELSEWHERE,
        "https://acme.openai.azure.com/openai/v1",
        "https://api.openai.com.example.org/v1",
        "https://not-api.openai.com/v1",
        "https://example.org/api.openai.com/v1",
        "https://api.openai.com@example.org/v1",
        None,
    ],
)
def test_nobody_else_is_believed_to(base_url):
    """A model of the same name may be another there, and read by another vocabulary."""
    assert not is_served(base_url)


def test_one_who_may_count_otherwise_keeps_all_at_the_bytes():
    """One bound holds for whoever is chosen."""
    assert is_served(HERE, HERE)
    assert not is_served(HERE, ELSEWHERE)
