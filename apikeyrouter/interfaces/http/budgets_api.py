"""Management of budgets: what a scope may spend in which window, what is left, and who changed it."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, WithJsonSchema

from apikeyrouter.application.audit import event_as_data
from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.budget_terms import parse_terms, parse_usd
from apikeyrouter.domain.events import budget_stream
from apikeyrouter.domain.models.budget import BudgetScope, EnforcementMode, TimeWindow
from apikeyrouter.interfaces.budget_changes import changed_terms
from apikeyrouter.interfaces.budget_standing import BudgetStanding, budget_standing
from apikeyrouter.interfaces.http.node_access import Actor, NodeDependency

MOST_BUDGETS = 1000
BUDGETS_A_TURN = 16
"""After so many the loop serves others."""
MOST_EVENTS = 1000
LONGEST_REASON = 500

router = APIRouter(tags=["budgets"])


def exact(given: object) -> object:
    """Let an amount pass as a text or a whole number; a number with a point was rounded on its way."""
    if isinstance(given, str) or (isinstance(given, int) and not isinstance(given, bool)):
        return given
    raise ValueError(
        'must be US dollars as a text, such as "12.50", or a whole number: a number with a point is a float,'
        " and not exact"
    )


Usd = Annotated[
    str | int,
    BeforeValidator(exact),
    WithJsonSchema(
        {"type": ["string", "integer"], "description": "US dollars, exact.", "examples": ["12.50"]}
    ),
]
Reason = Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]


class NewBudget(BaseModel):
    """A budget to be opened. `seconds` is the length of a custom period."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "scope": "team",
                    "scope_id": "research",
                    "name": "research, monthly",
                    "limit": "250.00",
                    "period": "monthly",
                    "timezone": "Europe/Berlin",
                }
            ]
        },
    )

    scope: BudgetScope
    scope_id: str | None = None
    name: str | None = None
    limit: Usd
    period: TimeWindow
    enforcement_mode: EnforcementMode = EnforcementMode.Hard
    rolling: StrictBool = False
    seconds: StrictInt | None = None
    timezone: str = "UTC"
    alerts_percent: list[StrictInt] | None = None
    downgrade: StrictBool = False


class BudgetChange(BaseModel):
    """What is declared anew of a budget's terms; what is not named, or null, stays as it is."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"limit": "400.00", "reason": "two more people"}]}
    )

    limit: Usd | None = None
    period: TimeWindow | None = None
    enforcement_mode: EnforcementMode | None = None
    rolling: StrictBool | None = None
    seconds: StrictInt | None = None
    timezone: str | None = None
    alerts_percent: list[StrictInt] | None = None
    downgrade: StrictBool | None = None
    reason: Reason | None = None


class TopUp(BaseModel):
    """What may be spent beside the limit, until the present window ends."""

    model_config = ConfigDict(extra="forbid")

    amount: Usd
    reason: Reason | None = None


class Closing(BaseModel):
    """Why a budget is closed."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason | None = None


@router.get("/budgets")
async def list_budgets(
    node: NodeDependency,
    *,
    scope: BudgetScope | None = None,
    scope_id: str | None = None,
    closed: Annotated[bool, Query(description="Also budgets that are closed.")] = False,
    after: Annotated[int, Query(ge=0, description="Skip so many.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_BUDGETS)] = 100,
) -> list[BudgetStanding]:
    """List the budgets in the order of their opening: limit, spent, reserved, remaining, reset."""
    found = [
        budget
        for budget in node.state.budgets.by_row
        if (closed or not budget.is_closed)
        and scope in {None, budget.scope}
        and scope_id in {None, budget.scope_id}
    ]
    told = []
    for place, budget in enumerate(found[after : after + limit], 1):
        told.append(_standing(node, budget.budget_id))
        if place % BUDGETS_A_TURN == 0:
            await asyncio.sleep(0)
    return told


@router.post("/budgets", status_code=201)
async def open_budget(new: NewBudget, node: NodeDependency, actor: Actor) -> BudgetStanding:
    """Bound what a scope may spend, from now on; what was spent before does not count."""
    terms = parse_terms(**new.model_dump(exclude={"scope", "scope_id", "name"}))
    opened = await node.budgets.open(
        terms, actor=actor, scope=new.scope, scope_id=new.scope_id, name=new.name
    )
    return _standing(node, opened.budget_id)


@router.get("/budgets/{budget_id}")
async def get_budget(budget_id: str, node: NodeDependency) -> BudgetStanding:
    """Return one budget as it stands."""
    return _standing(node, budget_id)


@router.get("/budgets/{budget_id}/events")
async def budget_events(
    budget_id: str, node: NodeDependency, limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = 100
) -> list[dict[str, Any]]:
    """Return the latest changes and alerts of a budget in their order, each change with its author."""
    stream = budget_stream(node.budgets.budget(budget_id).budget_id)
    recorded = await asyncio.to_thread(node.reader.stream, stream)
    return [event_as_data(one) for one in recorded[-limit:]]


@router.patch("/budgets/{budget_id}")
async def change_budget(
    budget_id: str, change: BudgetChange, node: NodeDependency, actor: Actor
) -> BudgetStanding:
    """Put other terms in place; what is spent stays spent, and what is not named stays as it is."""
    changes = change.model_dump(exclude_none=True, exclude={"reason"})
    terms = changed_terms(node.budgets.budget(budget_id).terms, changes)
    await node.budgets.set_terms(budget_id, terms, actor=actor, reason=change.reason)
    return _standing(node, budget_id)


@router.post("/budgets/{budget_id}/top-up")
async def top_up(budget_id: str, more: TopUp, node: NodeDependency, actor: Actor) -> BudgetStanding:
    """Let more be spent until the present window ends; of a rolling one, for one length."""
    amount = parse_usd(more.amount, "amount")
    await node.budgets.top_up(budget_id, amount, actor=actor, reason=more.reason)
    return _standing(node, budget_id)


@router.post("/budgets/{budget_id}/close")
async def close_budget(
    budget_id: str, node: NodeDependency, actor: Actor, closing: Closing | None = None
) -> BudgetStanding:
    """Bound nothing any more by this budget; its history stays."""
    reason = None if closing is None else closing.reason
    await node.budgets.close(budget_id, actor=actor, reason=reason)
    return _standing(node, budget_id)


def _standing(node: Node, budget_id: str) -> BudgetStanding:
    return budget_standing(node.state, node.budgets.budget(budget_id), node.clock.now_us())
