"""What would have been, and since when it is otherwise: the same answers as on the command line."""

from typing import Annotated, Any, Self

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator

from apikeyrouter.adapters.prices.genai_book import packaged_book
from apikeyrouter.adapters.retention.opening import whole_log
from apikeyrouter.application.compared_by import By
from apikeyrouter.application.retention.gaps import refuse_cut
from apikeyrouter.application.turning_point import bisect
from apikeyrouter.application.what_if import Change, Stretch, what_if
from apikeyrouter.application.what_if.run import DEFAULT_ATTEMPTS, DEFAULT_DRAWS
from apikeyrouter.application.what_if.scripts import MOST_AHEAD
from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.windows import SECOND_US
from apikeyrouter.interfaces.bisections import bisection_view, made_up_question, recorded_question
from apikeyrouter.interfaces.http.long_questions import LongQuestionsDependency, Pacing, refuse_if_too_many
from apikeyrouter.interfaces.http.node_access import NodeDependency
from apikeyrouter.interfaces.what_if_views import change_of, comparison_view
from apikeyrouter.limits import LONGEST_TIMEOUT_S, MOST_ATTEMPTS

MOST_DRAWS = 10
MOST_CHANGES = 200
LONGEST_CHANGE = 500

router = APIRouter(tags=["replay"])

Position = Annotated[StrictInt, Field(ge=1)]
Text = Annotated[str, Field(min_length=1, max_length=LONGEST_CHANGE)]
Texts = Annotated[list[Text], Field(max_length=MOST_CHANGES)]


class WhatIfQuestion(BaseModel):
    """A change, written as on the command line, and the stretch of the log that is run again under it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"objective": "cost", "limit": ["rpm=100"], "from": 50, "to": 300}]},
    )

    objective: Text | dict[str, Any] | None = None
    remove: Texts = Field(default=[], description="Ids of keys that there are not.")
    add: Texts = Field(default=[], description="More keys, each PROVIDER or PROVIDER:rpm=500,weight=2.")
    limit: Texts = Field(default=[], description="Declared otherwise: rpm=100, or KEY_ID@rpm=100.")
    price: Texts = Field(default=[], description="PROVIDER/MODEL=IN,OUT, dollars per million tokens.")
    budget: Texts = Field(default=[], description="Other limits, each BUDGET_ID=USD.")
    book: StrictBool = Field(default=False, description="With the prices of the installed package.")
    first: Position = Field(default=1, alias="from")
    last: Position | None = Field(default=None, alias="to")
    draws: StrictInt = Field(default=DEFAULT_DRAWS, ge=0, le=MOST_DRAWS)
    queue_timeout_s: float = Field(default=0.0, ge=0, le=LONGEST_TIMEOUT_S)
    max_attempts: StrictInt = Field(default=DEFAULT_ATTEMPTS, ge=1, le=MOST_ATTEMPTS)

    def change(self) -> Change:
        """Read the change."""
        return change_of(
            objective=self.objective,
            removed=self.remove,
            added=self.add,
            limits=self.limit,
            prices=self.price,
            budgets=self.budget,
            book=packaged_book() if self.book else None,
        )

    def stretch(self) -> Stretch:
        """Return what is run again."""
        return Stretch(
            first=self.first,
            last=self.last,
            draws=self.draws,
            most_attempts=self.max_attempts,
            wait_us=int(self.queue_timeout_s * SECOND_US),
        )


class BisectQuestion(BaseModel):
    """A recorded request, or a model to be asked for, and the stretch of the log in which it is asked."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"model": "gpt-4o", "objective": "cost", "by": "key"}]},
    )

    request_id: Text | None = None
    model: Text | None = None
    provider: Text | None = Field(default=None, description="With a model: only this provider.")
    objective: Text = "fairness"
    by: By = By.Provider
    first: Position = Field(default=1, alias="from")
    last: Position | None = Field(default=None, alias="to")
    every_event: StrictBool = False

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if (self.request_id is None) == (self.model is None):
            raise ValueError("give either a request_id or a model")
        return self


@router.post("/what-if")
async def ask_what_if(
    question: WhatIfQuestion, request: Request, node: NodeDependency, questions: LongQuestionsDependency
) -> dict[str, Any]:
    """Run a stretch of history again under a change, and compare: cost, refusals, throttles, who serves.

    One question to the past is answered at a time (429 with Retry-After), and only so many events are read
    for it; the command `apikeyrouter what-if` has no such bound.
    """
    return await questions.answer(request, lambda pacing: _rerun(node, question, pacing))


@router.post("/replay/bisect")
async def ask_bisect(
    question: BisectQuestion, request: Request, node: NodeDependency, questions: LongQuestionsDependency
) -> dict[str, Any]:
    """Find the event behind which a request began to be routed as it is at the end of a stretch.

    One question to the past is answered at a time (429 with Retry-After), and only so many events are read
    for it; the command `apikeyrouter replay bisect` has no such bound.
    """
    return await questions.answer(request, lambda pacing: _bisected(node, question, pacing))


def _rerun(node: Node, question: WhatIfQuestion, pacing: Pacing) -> dict[str, Any]:
    head = node.journal.log.head
    last = min(question.last or head, head)
    refuse_if_too_many(last, "apikeyrouter what-if")
    log = whole_log(node.settings, node.reader)
    refuse_cut(log, question.first, last)
    events = pacing.events(log.read(until=min(last + MOST_AHEAD, head), as_of=question.first))
    return comparison_view(what_if(events, question.change(), question.stretch()))


def _bisected(node: Node, question: BisectQuestion, pacing: Pacing) -> dict[str, Any]:
    head = node.journal.log.head
    asked_at: int | None = None
    if question.request_id is not None:
        asked, asked_at = recorded_question(node.reader, question.request_id)
    else:
        asked = made_up_question(question.model or "", question.provider, question.objective)
    last = min(question.last or asked_at or head, head)
    refuse_if_too_many(last, "apikeyrouter replay bisect")
    log = whole_log(node.settings, node.reader)
    refuse_cut(log, question.first, last)
    found = bisect(
        lambda until: pacing.events(log.read(until=until, as_of=question.first)),
        asked,
        first=question.first,
        last=last,
        by=question.by,
        every=question.every_event,
    )
    return bisection_view(found)
