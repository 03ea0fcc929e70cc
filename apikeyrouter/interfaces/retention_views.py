"""Retention and holds as users see them."""

import re
from typing import Any

from apikeyrouter.application.retention.choosing import Choice
from apikeyrouter.application.retention.letting import Letting
from apikeyrouter.application.retention.retaining import Placed
from apikeyrouter.domain.holds import Hold
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.retention import Retention, Segment, warning_about
from apikeyrouter.domain.retention_cut import Cut
from apikeyrouter.domain.state import RouterState
from apikeyrouter.domain.windows import DAY_US, instant

FOREVER = "forever"
_KEEP = re.compile(r"([1-9][0-9]{0,4})([dwy])")
_DAYS = {"d": 1, "w": 7, "y": 365}


def parse_keep(text: str) -> int | None:
    """Read how long requests are kept, as in 400d, 60w or 2y (of 365 days); `forever` is None."""
    if text == FOREVER:
        return None
    found = _KEEP.fullmatch(text)
    if found is None:
        raise InvalidRequestError(
            f"{text[:20]!r} is no time to keep requests: 400d, 60w, 2y or {FOREVER}", param="keep"
        )
    return int(found[1]) * _DAYS[found[2]] * DAY_US


def policy_view(retention: Retention) -> dict[str, Any]:
    """Tell how long requests are kept."""
    keep_us = retention.keep_us
    return {
        "keep_days": None if keep_us is None else keep_us / DAY_US,
        "warning": warning_about(keep_us),
    }


def status_view(state: RouterState, names: list[str], run: Letting | None = None) -> dict[str, Any]:
    """Tell the policy, the segments and where they are, the holds, and what the last run did."""
    retention = state.retention
    return {
        **policy_view(retention),
        "dropped": retention.dropped.count,
        "base": retention.base,
        "segments": [segment_view(one, retention, names) for one in retention.segments],
        "holds": [hold_view(hold) for hold in state.holds.by_id.values()],
        "run": None if run is None else run_view(run),
    }


def segment_view(segment: Segment, retention: Retention, names: list[str]) -> dict[str, Any]:
    """Tell of a segment; `here` is whether its file lies beside the log."""
    told = segment.told
    return {
        "segment": segment.name,
        "here": segment.name in names,
        "removed": segment.name not in retention.removing,
        "requests": told.requests,
        "events": told.events,
        "first": told.first,
        "last": told.last,
        "from": instant(told.from_us),
        "to": instant(told.to_us),
        "sha256": told.sha256,
        "event": [segment.ref.stream, segment.ref.version],
        "actor": told.actor,
    }


def hold_view(hold: Hold) -> dict[str, Any]:
    """Tell of a hold."""
    return {
        "hold_id": hold.hold_id,
        "scope": str(hold.scope),
        "scope_id": hold.scope_id,
        "since": None if hold.since_us is None else instant(hold.since_us),
        "until": None if hold.until_us is None else instant(hold.until_us),
        "reason": hold.reason,
        "actor": hold.actor,
        "placed": instant(hold.placed_at_us),
        "event": [hold.ref.stream, hold.ref.version],
    }


def placed_view(placed: Placed) -> dict[str, Any]:
    """Tell of a new hold, and of what it comes too late for."""
    return {**hold_view(placed.hold), "left_before": [segment.name for segment in placed.left_before]}


def run_view(run: Letting) -> dict[str, Any]:
    """Tell how far a run has come."""
    return {
        "step": str(run.step),
        "cut": cut_view(run.cut),
        "requests": run.requests,
        "events": run.events,
        "segments": list(run.segments),
        "kept": dict(run.kept),
        "reason": run.reason,
    }


def cut_view(cut: Cut | None) -> dict[str, str] | None:
    """Tell where the past begins that may go, and what set it."""
    return None if cut is None else {"before": instant(cut.at_us), "because": cut.because}


def choice_view(cut: Cut, choice: Choice) -> dict[str, Any]:
    """Tell what is old enough, and what stays all the same."""
    return {
        "cut": cut_view(cut),
        "requests": sum(one.requests for one in choice.segments),
        "events": sum(one.events for one in choice.segments),
        "kept": dict(choice.kept),
    }
