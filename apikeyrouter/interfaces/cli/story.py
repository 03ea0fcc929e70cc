"""A request's trail as a page: what was decided, between whom, what came of it, and the evidence."""

from collections.abc import Mapping
from operator import attrgetter

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from apikeyrouter.application.audit import Trail, event_as_data
from apikeyrouter.domain.events import (
    AttemptFailed,
    Candidate,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
)
from apikeyrouter.domain.explanation import CRITERIA, EXCLUDED, SPARED, consequence
from apikeyrouter.domain.explanation import explain as sentence_of
from apikeyrouter.interfaces.cli.events import show_events
from apikeyrouter.interfaces.cli.screen import console, milliseconds, moment, table, usd

Labels = Mapping[str, str]


def tell(trail: Trail, labels: Labels) -> None:
    """Print the story of a request."""
    page = console()
    _head(page, trail)
    for recorded in trail.events:
        _event(page, recorded, labels)
    _consequences(page, trail, labels)
    _evidence(page, trail)


def by_label(text: str, labels: Labels) -> str:
    """Call the keys in a text by the names that people gave them."""
    for key_id, label in labels.items():
        text = text.replace(key_id, label)
    return text


def _head(page: Console, trail: Trail) -> None:
    first = trail.events[0].event
    page.print(f"[bold]Request {trail.request_id}[/]")
    if isinstance(first, RouteDecided | RouteRefused | RouteDeferred):
        facts = first.facts
        how = "streamed" if facts.stream else "whole"
        objective = "" if isinstance(first, RouteDeferred) else f" · objective {first.policy.objective}"
        page.print(
            f"[dim]{moment(first.at_us)} UTC · {facts.operation} · {facts.model} · {how} ·"
            f" {facts.body_bytes:,} bytes{objective}[/]"
        )


def _event(page: Console, recorded: Recorded, labels: Labels) -> None:
    match recorded.event:
        case RouteDecided() as decided:
            page.print(f"\n[bold cyan]Decision {decided.attempt}[/] [dim]at position {recorded.position}[/]")
            page.print(by_label(sentence_of(decided), labels), markup=False)
            _candidates(page, decided, labels)
        case RouteRefused() as refused:
            page.print(f"\n[bold red]Refused[/] [dim]at position {recorded.position}[/]")
            page.print(by_label(sentence_of(refused), labels), markup=False)
            _exclusions(page, refused, labels)
        case RouteDeferred() as deferred:
            page.print(f"\n[bold yellow]Deferred[/] [dim]at position {recorded.position}[/]")
            page.print(by_label(sentence_of(deferred), labels), markup=False)
            _exclusions(page, deferred, labels)
        case _:
            page.print()
            page.print(by_label(_outcome(recorded), labels))


def _candidates(page: Console, decided: RouteDecided, labels: Labels) -> None:
    weights = {name: getattr(decided.policy, name) for name in CRITERIA if getattr(decided.policy, name)}
    criteria = (f">{weight:g} *\n{name}" for name, weight in weights.items())
    shown = table(
        "", "\nkey", "\nprovider", ">\nscore", *criteria, ">runs\ndry", ">in\nflight", ">costs\nat most"
    )
    shown.columns[1].overflow = "fold"
    for candidate in (decided.chosen, *decided.others):
        chosen = candidate is decided.chosen
        style = "bold green" if chosen else None
        shown.add_row("→" if chosen else "", *_row(candidate, tuple(weights), labels), style=style)
    page.print(Padding(shown, (1, 0, 0, 1), expand=False))
    unlisted = decided.eligible - 1 - len(decided.others)
    if unlisted > 0:
        page.print(f"    [dim]and {unlisted} more with lower scores[/]")
    _exclusions(page, decided, labels)


def _row(candidate: Candidate, criteria: tuple[str, ...], labels: Labels) -> list[str]:
    return [
        labels.get(candidate.key_id, candidate.key_id),
        candidate.provider_id,
        f"{candidate.total:.3f}",
        *(f"{getattr(candidate, name):.3f}" for name in criteria),
        "" if candidate.quota_ref is None else f"{candidate.exhaustion:.0%}",
        str(candidate.in_flight),
        usd(candidate.cost_bound_nano_usd),
    ]


def _exclusions(page: Console, decision: RouteDecided | RouteRefused | RouteDeferred, labels: Labels) -> None:
    for exclusion in decision.exclusions:
        where = f"{exclusion.evidence.stream}@{exclusion.evidence.version}"
        name = labels.get(exclusion.key_id, exclusion.key_id)
        why = SPARED.get(exclusion.rule) or EXCLUDED.get(exclusion.rule)
        how = "spared by" if exclusion.rule in SPARED else "excluded by"
        page.print(
            f"  ✗ {name} {how} [yellow]{exclusion.rule}[/]{f': {why}' if why else ''} [dim]({where})[/]"
        )


def _outcome(recorded: Recorded) -> str:
    match recorded.event:
        case AttemptFailed() as failed:
            return _failed_attempt(failed)
        case RequestCompleted() as completed:
            return (
                f"[bold green]Completed[/] by {completed.key_id} after {milliseconds(completed.elapsed_us)},"
                f" first byte after {milliseconds(completed.first_byte_us)}: {_tokens(completed)}."
            )
        case RequestCancelled() as cancelled:
            return (
                f"[bold yellow]The client left[/] after {milliseconds(cancelled.elapsed_us)}"
                f" ({cancelled.phase}): {_tokens(cancelled)}."
            )
        case RequestFailed() as failure:
            got = f"status {failure.status}"
            if failure.response_bytes:
                got = f"{failure.response_bytes:,} bytes, and then an error in the stream"
            return (
                f"[bold red]Failed[/] in {failure.attempts} attempts: {failure.failure}; the client got"
                f" {got}. {_tokens(failure)}."
            )
        case RequestReleased() as released:
            return (
                f"[bold yellow]Released[/] ({released.trigger}): what became of the call to {released.key_id}"
                " is not known."
            )
        case other:
            return f"{event_as_data(recorded)['name']}: {type(other).__name__}"


def _failed_attempt(failed: AttemptFailed) -> str:
    status = f", status {failed.status}" if failed.status else ""
    code = f", {failed.code}" if failed.code else ""
    wait = f", to be retried in {milliseconds(failed.retry_after_us)}" if failed.retry_after_us else ""
    return (
        f"[bold red]Attempt {failed.attempt} failed[/] at {failed.key_id} after"
        f" {milliseconds(failed.elapsed_us)}: {failed.failure}{status}{code}{wait}."
        f" Effect on the key: {failed.effect}."
    )


def _tokens(settled: RequestCompleted | RequestCancelled | RequestFailed) -> str:
    return (
        f"{settled.input_tokens:,} input and {settled.output_tokens:,} output tokens"
        f" ({settled.usage_source}), {usd(settled.cost_nano_usd)}"
    )


def _consequences(page: Console, trail: Trail, labels: Labels) -> None:
    if not trail.consequences:
        return
    page.print("\n[bold]What followed[/] [dim]for keys, providers and quotas[/]")
    for recorded in trail.consequences:
        where = f"{recorded.stream}@{recorded.version}"
        told = consequence(recorded.event) or event_as_data(recorded)["name"]
        page.print(f"  {escape(by_label(told, labels))} [dim]({where})[/]")


def _evidence(page: Console, trail: Trail) -> None:
    page.print(f"\n[bold]Evidence[/] [dim]{len(trail.evidence)} events that the decisions stand on[/]")
    show_events(event_as_data(recorded) for recorded in sorted(trail.evidence, key=attrgetter("position")))
    for ref in trail.missing:
        page.print(f"[red]missing: {ref.stream}@{ref.version}[/]")
