"""Reports that count: spend, use, completeness, service, refusals, quotas."""

from apikeyrouter.adapters.reports.definitions import (
    OF_PATH,
    TAG,
    Dimension,
    Measure,
    Quantile,
    Ratio,
    Report,
    Source,
    amount,
    buckets,
    count,
    counted,
    first_and_last,
    instant,
    money,
    position,
    text,
)
from apikeyrouter.application.reporting.questions import Unit

_SPENT_AT = "coalesce(s.settled_at_us, s.ended_at_us)"
_CHARGED_ALONE = "s.charged_nano_usd IS NOT NULL AND s.ended_position IS NOT s.settled_position"
_SETTLED_LATER = "s.settled_position IS NOT NULL AND s.settled_position IS NOT s.ended_position"

_SPENDING = Source(
    rows="attempts s",
    at_us=_SPENT_AT,
    condition="(s.settled_position IS NOT NULL OR s.charged_nano_usd IS NOT NULL)",
    path="s.path_id",
    positions=("s.settled_position", f"CASE WHEN {_CHARGED_ALONE} THEN s.ended_position END"),
)
_CALLS = Source(
    rows="attempts s",
    at_us="s.begun_at_us",
    path="s.path_id",
    positions=("s.begun_position", "s.ended_position", "s.settled_position"),
)
_REQUESTS = Source(
    rows="requests s", at_us="s.begun_at_us", path="s.path_id", positions=(), positions_of_requests=True
)
_REFUSED = Source(rows="decisions s", at_us="s.at_us", condition="s.kind = 'refused'", path="s.path_id")

_CALL_STATE = text("coalesce(s.state, 'open')")
_OF_CALLS = {
    **OF_PATH,
    **buckets("s.begun_at_us"),
    "tag": TAG,
    "state": _CALL_STATE,
    "failure": text("s.failure"),
    "request": text("s.request_id"),
}
_CALL_STATES = {
    state: counted(f"s.state = '{state}'") for state in ("completed", "failed", "cancelled", "released")
}
_OPEN = {"open": counted("s.state IS NULL")}
_TOKENS = {"input_tokens": amount("s.input_tokens"), "output_tokens": amount("s.output_tokens")}
_WHEN = {
    "first_at": Measure(sql="min(s.begun_at_us)", together="min", unit=Unit.Instant),
    "last_at": Measure(sql="max(s.begun_at_us)", together="max", unit=Unit.Instant),
}
_EVENTS_OF_CALLS = {
    "events": counted(
        f"(s.begun_position IS NOT NULL) + (s.ended_position IS NOT NULL) + ({_SETTLED_LATER})"
    ),
    "first_position": Measure(
        sql="min(coalesce(s.begun_position, s.ended_position))", together="min", unit=Unit.Position
    ),
    "last_position": Measure(
        sql="max(max(coalesce(s.begun_position, 0), coalesce(s.ended_position, 0),"
        " coalesce(s.settled_position, 0)))",
        together="max",
        unit=Unit.Position,
    ),
}

SPEND = Report(
    name="spend",
    about="What was spent, by the instant of its settlement; what may have been charged for calls that nobody"
    " answered stands beside it.",
    source=_SPENDING,
    dimensions={
        **OF_PATH,
        **buckets(_SPENT_AT),
        "tag": TAG,
        "state": _CALL_STATE,
        "price_source": text("s.price_source"),
        "usage_source": text("s.usage_source"),
        "request": text("s.request_id"),
    },
    measures={
        "calls": count(),
        **_TOKENS,
        "cached_input_tokens": amount("s.cached_input_tokens"),
        "reasoning_tokens": amount("s.reasoning_tokens"),
        "cost": money("s.cost_nano_usd"),
        "maybe_charged": money("s.charged_nano_usd"),
        "without_price": counted("s.settled_position IS NOT NULL AND s.cost_nano_usd IS NULL"),
        "events": counted(f"(s.settled_position IS NOT NULL) + ({_CHARGED_ALONE})"),
        "first_position": Measure(
            sql="min(coalesce(s.settled_position, s.ended_position))", together="min", unit=Unit.Position
        ),
        "last_position": Measure(
            sql="max(coalesce(s.settled_position, s.ended_position))", together="max", unit=Unit.Position
        ),
    },
    by=("client", "team", "model", "provider"),
    largest="cost",
)
USAGE = Report(
    name="usage",
    about="Who used which provider, model and key, by the instant at which a call was decided.",
    source=_CALLS,
    dimensions=_OF_CALLS,
    measures={"calls": count(), **_CALL_STATES, **_OPEN, **_TOKENS, **_WHEN, **_EVENTS_OF_CALLS},
    by=("client", "provider", "model", "key"),
    largest="calls",
)
COMPLETENESS = Report(
    name="completeness",
    about="All calls that this gateway decided to make, by the state that each is in.",
    source=_CALLS,
    dimensions=_OF_CALLS,
    measures={"calls": count(), **_WHEN, **_EVENTS_OF_CALLS},
    by=("key", "state"),
)
SLA = Report(
    name="sla",
    about="How requests fared: successes among those that were not cancelled, latencies of the completed,"
    " and how many were saved by another key.",
    source=_REQUESTS,
    dimensions={
        **OF_PATH,
        **buckets("s.begun_at_us"),
        "tag": TAG,
        "state": text("coalesce(s.state, 'open')"),
        "reason": text("s.reason"),
        "requested_model": text("s.requested_model"),
        "request": text("s.request_id"),
    },
    measures={
        "requests": count(),
        **_CALL_STATES,
        "refused": counted("s.state = 'refused'"),
        **_OPEN,
        "attempts": amount("s.attempts"),
        "failed_over": counted("s.attempts > 1"),
        "saved": counted("s.attempts > 1 AND s.state = 'completed'"),
        "waited": counted("s.waits > 0"),
        "events": amount("s.events"),
        **first_and_last("s.begun_position", "s.last_position"),
    },
    ratios={"success": Ratio(of="completed", among=("completed", "failed", "refused", "released"))},
    quantiles={
        "p50_us": Quantile(value="s.elapsed_us", share=0.5),
        "p95_us": Quantile(value="s.elapsed_us", share=0.95),
        "p99_us": Quantile(value="s.elapsed_us", share=0.99),
        "first_byte_p50_us": Quantile(value="s.first_byte_us", share=0.5),
        "first_byte_p95_us": Quantile(value="s.first_byte_us", share=0.95),
    },
    quantiles_of="s.state = 'completed'",
    by=("provider", "model"),
    largest="requests",
)
REFUSALS = Report(
    name="refusals",
    about="Every request that no key was found for, by reason and by the rules that kept the keys out.",
    source=_REFUSED,
    dimensions={
        **{name: one for name, one in OF_PATH.items() if name not in {"provider", "key"}},
        **buckets("s.at_us"),
        "tag": TAG,
        "reason": text("s.reason"),
        "rule": Dimension(
            sql="x.rule",
            join="LEFT JOIN exclusions x ON x.position = s.position",
            having="EXISTS (SELECT 1 FROM exclusions x WHERE x.position = s.position AND {condition})",
        ),
        "budget": text("s.budget_id"),
        "request": text("s.request_id"),
        "position": position(),
        "at": instant("s.at_us"),
        "retry_at": instant("s.retry_at_us"),
    },
    measures={"refusals": count(), **first_and_last("s.position", "s.position")},
    by=("reason", "rule", "client", "model"),
    largest="refusals",
)
QUOTAS = Report(
    name="quotas",
    about="What calls reserved of quotas, an upper bound of what each may use, in the account's own unit.",
    source=Source(rows="reservations s", at_us="s.at_us", condition="s.account NOT LIKE 'budget-%'"),
    dimensions={"account": text("s.account"), "request": text("s.request_id"), **buckets("s.at_us")},
    measures={
        "reservations": count(),
        "reserved": amount("s.amount"),
        **first_and_last("s.position", "s.position"),
    },
    by=("account",),
    largest="reservations",
)
