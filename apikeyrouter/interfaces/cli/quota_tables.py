"""Quotas and forecasts as tables."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from apikeyrouter.interfaces.cli.screen import console, table

if TYPE_CHECKING:
    from apikeyrouter.domain.state import RouterState
    from apikeyrouter.interfaces.quota_views import Outlook

CAPACITY_STYLES = {
    "abundant": "green",
    "constrained": "yellow",
    "critical": "dark_orange",
    "exhausted": "red",
    "recovering": "cyan",
    "unknown": "bright_black",
}
SOURCES = {
    "declared": "declared",
    "learned_from_headers": "learned",
    "learned_from_refusal": "guessed",
}
LETTERS = {"requests": "r", "tokens": "t", "input_tokens": "it", "output_tokens": "ot"}
UNITS = {"second": "s", "minute": "m", "hour": "h", "day": "d", "month": "month"}
NOT_KNOWN = "no limit known"
LEAST_SHORTENED = 100_000
NOT_EXPECTED_BELOW = 0.005

Row = Mapping[str, Any]


def outlook_now(state: "RouterState") -> "Outlook":
    """Look at the accounts of a state as they stand now."""
    from apikeyrouter.adapters.ambient import SystemClock
    from apikeyrouter.interfaces.quota_views import Outlook

    return Outlook(state, SystemClock().now_us())


def tightest(quota: Row) -> Row | None:
    """Return the account whose figures stand for the whole key."""
    told = quota["remaining_capacity"]["value"], quota["total_capacity"]["value"], quota["dimension"]
    same = (one for one in quota["accounts"] if (one["remaining"], one["limit"], one["dimension"]) == told)
    return next(same, None)


def name_of(account: Row) -> str:
    """Name a limit as it is declared: rpm, or tpm:MODEL."""
    name = f"{LETTERS[account['dimension']]}p{UNITS[account['window']]}"
    return name if account["models"] is None else f"{name}:{'|'.join(account['models'])}"


def left_text(account: Row | None) -> str:
    """Write what is left of a limit."""
    if account is None:
        return "-"
    return f"{_short(account['remaining'])}/{_short(account['limit'])} {name_of(account)}"


def capacity_text(state: str) -> str:
    """Write a capacity state in its colour."""
    return f"[{CAPACITY_STYLES.get(state, 'default')}]{state}[/]"


def show_accounts(accounts: Iterable[Row]) -> None:
    """Print the limits of a key and what has been used of them."""
    shown = table(
        "limit", ">allowed", "known", ">settled", ">reserved", ">left", "capacity", "gives back at (UTC)"
    )
    for account in accounts:
        ends_at = account["window_ends_at"]
        shown.add_row(
            name_of(account),
            f"{account['limit']:,}",
            SOURCES.get(account["source"], account["source"]),
            f"{account['settled']:,}",
            f"{account['reserved']:,}",
            f"{account['remaining']:,}",
            capacity_text(account["capacity_state"]),
            "" if ends_at is None else _moment(ends_at),
        )
    console().print(shown if shown.row_count else f"Quotas: {NOT_KNOWN}.")
    console().print()


def show_forecasts(forecasts: Iterable[Row], labels: Mapping[str, str]) -> None:
    """Print what is foreseen, one account a line."""
    shown = table(
        "key",
        "limit",
        ">left",
        ">per s",
        "capacity",
        ">runs dry",
        "when (UTC), if it does",
        "how sure",
        ">Brier so far",
    )
    for account in forecasts:
        shown.add_row(
            ", ".join(labels.get(key_id, key_id) for key_id in account["key_ids"]),
            name_of(account),
            f"{_short(account['remaining'])}/{_short(account['limit'])}",
            f"{account['rate_per_s']:,.2f}",
            capacity_text(account["capacity_state"]),
            f"{account['probability']:.0%}",
            _when(account),
            account["uncertainty"],
            _score(account),
        )
    console().print(shown)


def _score(account: Row) -> str:
    """Write how well earlier forecasts came true."""
    if account["brier_score"] is None:
        return "-"
    return f"{account['brier_score']:.3f} of {account['forecasts_scored']:,}"


def _when(account: Row) -> str:
    if account["exhausted_at"] is None or account["probability"] < NOT_EXPECTED_BELOW:
        return "not expected"
    times = [account[name] for name in ("exhausted_at", "earliest_at", "latest_at")]
    at, earliest, latest = map(_moment, times)
    if len({time[:10] for time in times}) == 1:
        earliest, latest = earliest[11:], latest[11:]
    return at if earliest == latest else f"{at} ({earliest} to {latest})"


def _moment(at: str) -> str:
    return at[:19].replace("T", " ")


def _short(amount: int) -> str:
    """Write an amount that has many digits in thousands or millions."""
    if amount < LEAST_SHORTENED:
        return f"{amount:,}"
    thousands = amount / 1000
    return f"{thousands:,.0f}k" if thousands < LEAST_SHORTENED else f"{thousands / 1000:,.0f}M"
