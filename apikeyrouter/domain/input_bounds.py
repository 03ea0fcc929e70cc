"""How much input a request may have: by what its body holds, and by what the provider adds to that."""

from apikeyrouter.domain.events import RequestFacts


def body_bound(facts: RequestFacts) -> int:
    """Bound the tokens of what the body itself holds: no byte-level tokenizer makes more tokens than bytes.

    Quotas hold this much. The allowances beside it, for pictures and for what a body only names, are there
    for budgets: few keys have a limit of tokens so wide that it could hold them.
    """
    size, bound = facts.body_bytes, facts.input_tokens_bound
    return size if 0 < size < bound else bound
