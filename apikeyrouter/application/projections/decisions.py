"""Decisions: one row for each choice, refusal and postponement, and which rules kept which keys out.

The path of a choice is that of the attempt which it began; only where none began has a decision its own.
"""

from apikeyrouter.application.projections.paths import path_of
from apikeyrouter.application.projections.tables import CallPath, Change, Column, ReadModel, Table
from apikeyrouter.domain.events import (
    Exclusion,
    Recorded,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
)

DECISIONS = Table(
    name="decisions",
    columns={
        "position": Column(int),
        "request_id": Column(str),
        "version": Column(int),
        "at_us": Column(int),
        "kind": Column(str),
        "path_id": Column(int),
        "attempt": Column(int),
        "as_of": Column(int),
        "rules": Column(int),
        "reason": Column(str),
        "score": Column(float),
        "eligible": Column(int),
        "excluded": Column(int),
        "runner_up_key_id": Column(str),
        "retry_at_us": Column(int),
        "budget_id": Column(str),
    },
)
EXCLUSIONS = Table(
    name="exclusions",
    columns={"position": Column(int), "rule": Column(str), "keys": Column(int)},
    key=("position", "rule"),
)
EXCLUDED_KEYS = Table(
    name="excluded_keys",
    columns={
        "position": Column(int),
        "place": Column(int),
        "key_id": Column(str),
        "rule": Column(str),
        "evidence_stream": Column(str),
        "evidence_version": Column(int),
    },
    key=("position", "place"),
)

_DECISION = DECISIONS.writing()
_EXCLUSION = EXCLUSIONS.writing()
_EXCLUDED_KEY = EXCLUDED_KEYS.writing()

Decision = RouteDecided | RouteRefused | RouteDeferred


def _decided(place: Recorded, event: RouteDecided) -> list[Change]:
    runner_up = event.others[0].key_id if event.others else None
    told = (event.as_of, event.rules, None, event.chosen.total, event.eligible)
    row = _row(place, event, "chosen", None, told, (runner_up, None, None))
    return [row, *_excluded(place, event)] if event.excluded else [row]


def _refused(place: Recorded, event: RouteRefused) -> list[Change]:
    path = path_of(event.facts, event.policy.objective)
    told = (event.as_of, event.rules, event.reason, None, 0)
    budget_id = event.shortfall.budget_id if event.shortfall else None
    return [
        _row(place, event, "refused", path, told, (None, event.retry_at_us, budget_id)),
        *_excluded(place, event),
    ]


def _deferred(place: Recorded, event: RouteDeferred) -> list[Change]:
    told = (None, None, event.reason, None, None)
    row = _row(place, event, "deferred", path_of(event.facts, None), told, (None, event.retry_at_us, None))
    return [row, *_excluded(place, event)]


def _row(
    place: Recorded,
    event: Decision,
    kind: str,
    path: CallPath | None,
    told: tuple[int | str | float | None, ...],
    rest: tuple[int | str | None, ...],
) -> Change:
    where = (place.position, place.stream.removeprefix("request-"), place.version, event.at_us)
    excluded = sum(event.excluded.values())
    return _DECISION, (*where, kind, path, event.attempt, *told, excluded, *rest)


def _excluded(place: Recorded, event: Decision) -> list[Change]:
    position = place.position
    rules: list[Change] = [(_EXCLUSION, (position, rule, keys)) for rule, keys in event.excluded.items()]
    return rules + [
        (_EXCLUDED_KEY, (position, number, *_evidence(one))) for number, one in enumerate(event.exclusions)
    ]


def _evidence(one: Exclusion) -> tuple[str, str, str, int]:
    return one.key_id, one.rule, one.evidence.stream, one.evidence.version


MODEL = ReadModel(
    name="decisions",
    about="Every choice, refusal and postponement, and the rules that kept keys out, with their evidence.",
    tables=(DECISIONS, EXCLUSIONS, EXCLUDED_KEYS),
    projections={RouteDecided: _decided, RouteRefused: _refused, RouteDeferred: _deferred},
)
