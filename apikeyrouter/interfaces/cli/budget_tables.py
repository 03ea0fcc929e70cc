"""Budgets as tables: what is left, when it resets, who changed what, and what was told."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from rich.markup import escape

from apikeyrouter.domain.pricing import dollars
from apikeyrouter.interfaces.cli.screen import console, moment, table

BAR_WIDTH = 8
CENTS, HUNDREDTHS_OF_CENTS = Decimal("0.01"), Decimal("0.0001")
NEARLY_SPENT, SPENT = 80, 100
LABEL_WIDTH = 11
ID_WIDTH = 32

Row = Mapping[str, Any]


def show_budgets(budgets: Iterable[Row]) -> None:
    """Print budgets, two lines each, amounts rounded."""
    shown = table("budget", ">limit", ">spent\nreserved", ">left", "used", "resets")
    for column in shown.columns:
        column.no_wrap = True
    shown.columns[0].min_width = ID_WIDTH
    for budget in budgets:
        shown.add_row(
            f"[bold]{escape(_shortened(_title(budget)))}[/]\n[dim]{budget['id']}[/]",
            f"{_rounded(_allowed(budget))}\n[dim]{_length(budget)}, {budget['enforcement_mode']}[/]",
            f"{_rounded(Decimal(budget['spent']))}\n[dim]{_rounded(Decimal(budget['reserved']))}[/]",
            _rounded(Decimal(budget["remaining"])),
            f"{_bar(budget)}\n[dim]{_told(budget)}[/]",
            "rolling" if budget["rolling"] else _resets(budget),
        )
    console().print(shown)


def show_budget(budget: Row) -> None:
    """Print one budget with exact amounts."""
    limit = _exact(budget["limit"])
    if Decimal(budget["topped_up"]):
        limit += f", and {_exact(budget['topped_up'])} topped up until the period ends"
    _line("for", escape(_title(budget)))
    _line("mode", _mode(budget))
    _line("limit", f"{limit}, {_period(budget)}{_where(budget)}")
    _line("spent", _exact(budget["spent"]))
    _line("reserved", f"{_exact(budget['reserved'])} for calls under way")
    _line("remaining", _exact(budget["remaining"]))
    _line("used", _bar(budget))
    _line("resets", _resets(budget).replace("\n", " "))
    _line("alerts", _alerts(budget))


def show_history(events: Iterable[Row], *, left_out: int) -> None:
    """Print what was done to a budget, by whom, and what was told."""
    shown = table(">position", "when (UTC)", "who", "what", title="\nLatest events")
    for event in events:
        data = event["data"]
        who = data.get("actor", "the router")
        shown.add_row(
            str(event["position"]), moment(data["at_us"])[:19], escape(who), escape(_happened(event))
        )
    console().print(shown)
    if left_out:
        console().print(f"[dim]{left_out} earlier ones are left out; see --events.[/]")


def _line(label: str, text: str) -> None:
    console().print(f"[dim]{label:<{LABEL_WIDTH}}[/]{text}", soft_wrap=True)


def _title(budget: Row) -> str:
    whose = budget["scope"] if budget["scope_id"] is None else f"{budget['scope']} {budget['scope_id']}"
    return whose if budget["name"] is None else f"{whose} ({budget['name']})"


def _shortened(title: str) -> str:
    return title if len(title) <= ID_WIDTH else f"{title[: ID_WIDTH - 1]}…"


def _mode(budget: Row) -> str:
    told = {"hard": "hard: refuses what does not fit", "soft": "soft: tells, and refuses nothing"}
    cheaper = ", prefers cheaper models where money runs short" if budget["downgrade"] else ""
    closed = ", closed: bounds nothing any more" if budget["closed"] else ""
    return told[budget["enforcement_mode"]] + cheaper + closed


def _length(budget: Row) -> str:
    return f"{budget['seconds']:,} s" if budget["period"] == "custom" else str(budget["period"])


def _period(budget: Row) -> str:
    return f"{_length(budget)} rolling" if budget["rolling"] else _length(budget)


def _where(budget: Row) -> str:
    return "" if budget["rolling"] or budget["period"] == "total" else f" ({escape(budget['timezone'])})"


def _allowed(budget: Row) -> Decimal:
    return Decimal(budget["limit"]) + Decimal(budget["topped_up"])


def _bar(budget: Row) -> str:
    """Draw how much is taken, spent or reserved; of a budget of nothing, all is."""
    if budget["closed"]:
        return "closed"
    allowed, taken = _allowed(budget), Decimal(budget["spent"]) + Decimal(budget["reserved"])
    percent = int(100 * taken / allowed) if allowed else 100
    full = min(percent, 100) * BAR_WIDTH // 100
    style = "red" if percent >= SPENT else "yellow" if percent >= NEARLY_SPENT else "green"
    return f"[{style}]{'█' * full}[/][dim]{'░' * (BAR_WIDTH - full)}[/] {percent} %"


def _told(budget: Row) -> str:
    percent = budget["alerted_percent"]
    return "" if percent is None else f"alert at {percent} %"


def _alerts(budget: Row) -> str:
    if not budget["alerts_percent"]:
        return "none"
    at = ", ".join(f"{percent} %" for percent in budget["alerts_percent"])
    percent = budget["alerted_percent"]
    return f"at {at}; " + ("none in this period" if percent is None else f"given at {percent} %")


def _resets(budget: Row) -> str:
    """Write when the window ends; a rolling one gives back bit by bit, from then on."""
    if budget["resets_at"] is None:
        return "rolling" if budget["rolling"] else "never"
    day, time = budget["resets_at"][:10], budget["resets_at"][11:16]
    return f"{'from ' if budget['rolling'] else ''}{day}\n{time} UTC"


def _rounded(amount: Decimal) -> str:
    """Write cents, and of amounts below a dollar hundredths of cents; what is not nothing never looks so."""
    if 0 < amount < HUNDREDTHS_OF_CENTS:
        return f"<${HUNDREDTHS_OF_CENTS}"
    places = HUNDREDTHS_OF_CENTS if 0 < amount < 1 else CENTS
    return f"${amount.quantize(places):,f}"


def _exact(amount: str) -> str:
    whole, _, rest = amount.partition(".")
    return f"${int(whole):,}.{rest.ljust(2, '0')}"


def _happened(event: Row) -> str:
    data = event["data"]
    reason = f": {data['reason']}" if data.get("reason") else ""
    match event["name"].split(".")[1]:
        case "opened":
            return f"opened, {_terms(data['terms'])}"
        case "terms_set":
            return f"set to {_terms(data['terms'])}{reason}"
        case "topped_up":
            until = "for ever" if data["until_us"] is None else f"until {moment(data['until_us'])[:16]}"
            return f"topped up by {dollars(data['amount_nano_usd'])} {until}{reason}"
        case "alerted":
            spent, limit = dollars(data["settled_nano_usd"]), dollars(data["limit_nano_usd"])
            return f"told that {data['percent']} % is reached: {spent} of {limit}"
        case what:
            return f"{what}{reason}"


def _terms(terms: Row) -> str:
    """Say terms as the log holds them; what is as usual is left out there."""
    unit = terms["unit"]
    windows = {"total": "in total", "custom": f"every {terms.get('seconds', 0):,} s", "hour": "an hour"}
    told = [f"{dollars(terms['limit_nano_usd'])} {windows.get(unit, f'a {unit}')}"]
    told.append(terms["enforcement"])
    told += ["rolling"] if terms.get("kind") == "rolling" else []
    told += [terms["zone"]] if terms.get("zone", "UTC") != "UTC" else []
    told.append("alerts at " + ", ".join(f"{percent} %" for percent in terms.get("alerts_percent", ())))
    told += ["downgrade"] if terms.get("downgrade") else []
    return ", ".join(part for part in told if part != "alerts at ")
