"""What a request waits for: the price of certainty, chosen by name."""

from enum import StrEnum


class Durability(StrEnum):
    """How durable the record must be before a request goes on.

    `strict`: the decision before the call, the settlement before the answer ends.
    `before_dispatch`: the decision before the call; the settlement follows with the next group.
    `before_response`: the decision's commit runs beside the call and is awaited before the answer.
    `async`: nothing is awaited; a crash may lose the events that the writer has not committed yet.
    """

    Strict = "strict"
    BeforeDispatch = "before_dispatch"
    BeforeResponse = "before_response"
    Async = "async"

    @property
    def awaits_decision_before_call(self) -> bool:
        """True where no call is made before its decision is durable."""
        return self in {Durability.Strict, Durability.BeforeDispatch}

    @property
    def awaits_decision_before_answer(self) -> bool:
        """True where the decision's commit runs beside the call."""
        return self is Durability.BeforeResponse

    @property
    def awaits_settlement(self) -> bool:
        """True where no answer ends before its settlement is durable."""
        return self is Durability.Strict
