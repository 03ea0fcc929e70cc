"""Every number of every report, added up once more from the raw events behind it, without a table or SQL."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from apikeyrouter.domain.events import (
    AttemptFailed,
    BudgetAlerted,
    BudgetOpened,
    BudgetTermsSet,
    BudgetToppedUp,
    BudgetWindowOpened,
    LeaseGranted,
    LeaseReturned,
    PayloadCaptured,
    PayloadsExpired,
    QuotaCorrected,
    QuotaLimitLearned,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
    SegmentDropped,
    SubjectErased,
)

Events = Sequence[Recorded]
Settled = RequestCompleted | RequestCancelled | RequestFailed
STATES = {
    RequestCompleted: "completed",
    RequestCancelled: "cancelled",
    RequestFailed: "failed",
    AttemptFailed: "failed",
    RequestReleased: "released",
    RouteRefused: "refused",
}


def recomputed(report: str, events: Events, group: dict[str, Any]) -> dict[str, Any]:
    """Return everything that a report counts of a group, from the events that are said to be behind it."""
    counted = COUNTED.get(report, lambda events, _group: {COUNTS[report]: len(events)})
    positions = [one.position for one in events]
    bounds = {"first_position": _least(positions), "last_position": _greatest(positions)}
    return {**bounds, "events": len(events), **counted(events, group)}


_least, _greatest = partial(min, default=None), partial(max, default=None)


def _attempt(event: Any) -> int:
    return event.attempts if isinstance(event, RequestFailed) else event.attempt


def _calls(events: Events) -> dict[tuple[str, int], list[Any]]:
    calls = defaultdict(list)
    for one in events:
        calls[one.stream, _attempt(one.event)].append(one.event)
    return calls


def _settlements(events: Events) -> list[Settled]:
    return [one.event for one in events if isinstance(one.event, Settled)]


def _tokens(events: Events) -> dict[str, int]:
    settled = _settlements(events)
    names = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
    return {name: sum(getattr(one, name) for one in settled) for name in names}


def _spend(events: Events, _group: dict[str, Any]) -> dict[str, Any]:
    settled = _settlements(events)
    charged = [one.event for one in events if isinstance(one.event, AttemptFailed | RequestReleased)]
    return {
        "calls": len(_calls(events)),
        **_tokens(events),
        "cost": sum(one.cost_nano_usd or 0 for one in settled),
        "maybe_charged": sum(one.charged_nano_usd for one in charged),
        "without_price": sum(one.cost_nano_usd is None for one in settled),
    }


def _usage(events: Events, _group: dict[str, Any]) -> dict[str, Any]:
    calls = _calls(events).values()
    ends = [next((STATES[type(e)] for e in call if type(e) in STATES), "open") for call in calls]
    begun = [one.event.at_us for one in events if isinstance(one.event, RouteDecided)]
    states = ("completed", "failed", "cancelled", "released", "open")
    return {
        "calls": len(calls),
        **{state: ends.count(state) for state in states},
        **_tokens(events),
        "first_at": _least(begun),
        "last_at": _greatest(begun),
    }


def _sla(events: Events, _group: dict[str, Any]) -> dict[str, Any]:
    requests = defaultdict(list)
    for one in events:
        requests[one.stream].append(one.event)
    ends = [_state(request) for request in requests.values()]
    attempts = [_attempts(request) for request in requests.values()]
    done = [one.event for one in events if isinstance(one.event, RequestCompleted)]
    among = [end for end in ends if end in {"completed", "failed", "refused", "released"}]
    states = ("completed", "failed", "cancelled", "released", "refused", "open")
    return {
        "requests": len(requests),
        **{state: ends.count(state) for state in states},
        "attempts": sum(attempts),
        "failed_over": sum(count > 1 for count in attempts),
        "saved": sum(n > 1 and end == "completed" for n, end in zip(attempts, ends, strict=True)),
        "waited": sum(any(isinstance(e, RouteDeferred) for e in one) for one in requests.values()),
        "success": ends.count("completed") / len(among) if among else None,
        **{f"p{share}_us": _quantile([one.elapsed_us for one in done], share) for share in (50, 95, 99)},
        **{
            f"first_byte_p{share}_us": _quantile(
                [one.first_byte_us for one in done if one.first_byte_us is not None], share
            )
            for share in (50, 95)
        },
    }


def _state(request: Sequence[Any]) -> str:
    last = request[-1]
    return "open" if isinstance(last, AttemptFailed) else STATES.get(type(last), "open")


def _attempts(request: Sequence[Any]) -> int:
    decided = [one.attempt for one in request if isinstance(one, RouteDecided)]
    turned_away = [one.attempt - 1 for one in request if isinstance(one, RouteDeferred | RouteRefused)]
    return max(decided + turned_away)


def _quantile(values: list[int], percent: int) -> int | None:
    return sorted(values)[math.ceil(percent * len(values) / 100) - 1] if values else None


def _quotas(events: Events, group: dict[str, Any]) -> dict[str, Any]:
    reserved = [
        part
        for one in events
        for part in one.event.reserved
        if part.account == group.get("account", part.account) and not part.account.startswith("budget-")
    ]
    return {"reservations": len(reserved), "reserved": sum(part.amount for part in reserved)}


def _payloads(events: Events, _group: dict[str, Any]) -> dict[str, Any]:
    captured = [one.event for one in events if isinstance(one.event, PayloadCaptured)]
    return {
        "changes": len(events),
        "payloads": sum(_bodies(one.event) for one in events),
        "sealed_bytes": sum(part.sealed_bytes for event in captured for part in event.parts),
    }


def _bodies(event: Any) -> int:
    if hasattr(event, "subjects"):
        return sum(one.payloads for one in event.subjects)
    if hasattr(event, "hold_id"):
        return 0
    return getattr(event, "payloads", 1)


COUNTS = {
    "refusals": "refusals",
    "admin": "acts",
    "leases": "moves",
    **dict.fromkeys(("keys", "providers", "limits", "budgets", "access", "segments"), "changes"),
}
COUNTED: dict[str, Callable[[Events, dict[str, Any]], dict[str, Any]]] = {
    "spend": _spend,
    "usage": _usage,
    "completeness": _usage,
    "sla": _sla,
    "quotas": _quotas,
    "payloads": _payloads,
}


NAMES = {"at": "at_us", "until": "until_us", "since": "since_us", "retry_at": "retry_at_us"}
"""How events call what stands in a column, where it is called otherwise."""

OTHERWISE = {
    ("budgets", "settled"): "settled_nano_usd",
    ("leases", "until"): "none of them but grants",
}
BY_TYPE: dict[tuple[str, str], dict[type, str]] = {
    ("limits", "amount"): {QuotaLimitLearned: "limit", QuotaCorrected: "remaining"},
    ("budgets", "amount"): {
        BudgetOpened: "terms.limit_nano_usd",
        BudgetTermsSet: "terms.limit_nano_usd",
        BudgetToppedUp: "amount_nano_usd",
        BudgetAlerted: "limit_nano_usd",
    },
    ("leases", "amount"): {LeaseGranted: "granted", LeaseReturned: "returned"},
    ("", "until"): {
        BudgetAlerted: "window_ends_us",
        BudgetWindowOpened: "ends_us",
        LeaseGranted: "ends_us",
        SegmentDropped: "to_us",
        PayloadsExpired: "before_us",
    },
    ("", "since"): {BudgetWindowOpened: "starts_us", SegmentDropped: "from_us", SubjectErased: "from_us"},
}


def told(report: str, column: str, one: Recorded) -> Any:
    """Return what a column of one event must hold, for the columns that are numbers."""
    if column in {"position", "version"}:
        return getattr(one, column)
    event, by_type = one.event, BY_TYPE.get((report, column)) or BY_TYPE.get(("", column), {})
    names = by_type.get(type(event)) or OTHERWISE.get((report, column), NAMES.get(column, column))
    value: Any = event
    for name in names.split("."):
        value = getattr(value, name, None)
    return value
