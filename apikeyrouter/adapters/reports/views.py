"""Views for people: the same rows with their paths in words, instants as text and money in dollars."""

from typing import TYPE_CHECKING

from apikeyrouter.application.projections.tables import CallPath

if TYPE_CHECKING:
    from sqlite_utils import Database

_PATH = ", ".join(f"p.{word}" for word in CallPath._fields)


def _instant(column: str, name: str) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000000.0, 'unixepoch') AS {name}"


def _usd(column: str, name: str) -> str:
    billion = 1_000_000_000
    text = f"printf('%d.%09d', {column} / {billion}, {column} % {billion})"
    return f"CASE WHEN {column} IS NOT NULL THEN {text} END AS {name}"


VIEWS = {
    "requests_told": f"""
        SELECT r.request_id, {_PATH}, r.requested_model, r.state, r.reason, r.status, r.attempts, r.waits,
            {_instant("r.begun_at_us", "begun_at")}, {_instant("r.ended_at_us", "ended_at")},
            r.elapsed_us, r.first_byte_us, r.begun_position, r.last_position, r.events
        FROM requests r LEFT JOIN paths p USING (path_id)""",
    "attempts_told": f"""
        SELECT a.request_id, a.attempt, {_PATH}, a.state, a.failure, a.status, a.effect, a.sent,
            {_instant("a.begun_at_us", "begun_at")}, {_instant("a.ended_at_us", "ended_at")},
            a.elapsed_us, a.begun_position, a.ended_position, a.settled_position
        FROM attempts a LEFT JOIN paths p USING (path_id)""",
    "spend": f"""
        SELECT a.request_id, a.attempt, {_PATH}, a.input_tokens, a.output_tokens, a.cached_input_tokens,
            a.reasoning_tokens, a.cost_nano_usd, {_usd("a.cost_nano_usd", "cost_usd")}, a.charged_nano_usd,
            a.usage_source, a.price_source,
            {_instant("coalesce(a.settled_at_us, a.ended_at_us)", "spent_at")},
            coalesce(a.settled_position, a.ended_position) AS position
        FROM attempts a LEFT JOIN paths p USING (path_id)
        WHERE a.settled_position IS NOT NULL OR a.charged_nano_usd IS NOT NULL""",
    "refusals": f"""
        SELECT d.position, d.request_id, d.version, {_instant("d.at_us", "at")}, {_PATH}, d.attempt, d.reason,
            d.excluded AS excluded_keys, d.budget_id, {_instant("d.retry_at_us", "retry_at")},
            (SELECT group_concat(rule || ' ' || keys, ', ') FROM exclusions e WHERE e.position = d.position)
                AS rules
        FROM decisions d LEFT JOIN paths p USING (path_id)
        WHERE d.kind = 'refused'""",
    "access_by_day": f"""
        SELECT {_PATH}, date(c.utc_day * 86400, 'unixepoch') AS day, c.calls,
            {_instant("c.first_at_us", "first_at")}, {_instant("c.last_at_us", "last_at")},
            c.first_position, c.last_position
        FROM (
            SELECT path_id, begun_at_us / 86400000000 AS utc_day, count(*) AS calls,
                min(begun_at_us) AS first_at_us, max(begun_at_us) AS last_at_us,
                min(begun_position) AS first_position, max(begun_position) AS last_position
            FROM attempts GROUP BY 1, 2
        ) c JOIN paths p USING (path_id)""",
}


def create_views(database: "Database") -> None:
    """Make the views, in the place of those that there were."""
    for name, sql in VIEWS.items():
        database.create_view(name, sql.strip(), replace=True)
