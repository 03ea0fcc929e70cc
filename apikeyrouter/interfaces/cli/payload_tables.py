"""How kept bodies and their erasure look on a terminal."""

from typing import Any

from rich.markup import escape

from apikeyrouter.interfaces.cli.screen import console, moment, print_json, print_whole, table

TO_THE_SECOND = len("2026-01-01 00:00:00")


def show_captures(captures: list[dict[str, Any]], *, as_json: bool) -> None:
    """Show whose bodies are kept."""
    if as_json:
        print_json(captures)
        return
    if not captures:
        console().print("Nobody's bodies are kept.")
        return
    shown = table("client", "kept", ">for", "since", "by", "reason")
    for one in captures:
        span = "until erased" if one["keep_us"] is None else f"{one['keep_us'] / 86_400_000_000:g} days"
        since = "" if one["since_us"] is None else moment(one["since_us"])
        said = "on" if one["enabled"] else "off"
        why = escape(one["reason"] or "")
        shown.add_row(escape(one["client_id"]), said, span, since, one["actor"] or "", why)
    console().print(shown)


def show_list(listed: list[dict[str, Any]]) -> None:
    """Show what is kept, a line a request."""
    if not listed:
        console().print("Nothing is kept.")
        return
    shown = table("request", "client", "subject", "taken (UTC)", ">request", ">answer")
    for one in listed:
        sizes = {part["part"]: f"{part['plain_bytes']:,}" + "+" * part["truncated"] for part in one["parts"]}
        taken = moment(one["taken_at_us"])[:TO_THE_SECOND]
        bodies = (sizes.get("request", ""), sizes.get("answer", ""))
        shown.add_row(one["request_id"], escape(one["client_id"]), one["subject"], taken, *bodies)
    print_whole(console(), shown)


def show_receipt(told: dict[str, Any], *, as_json: bool) -> None:
    """Show a receipt; whole only as JSON."""
    if as_json:
        print_json(told)
        return
    page = console()
    ended = f"erased {moment(told['erased_at_us'])}" if told["finished"] else "not finished"
    page.print(
        f"Erasure {told['erasure_id']}: {told['payloads']:,} payloads of {told['client_id']}, {ended}",
        markup=False,
        soft_wrap=True,
    )
    for subject in told["subjects"]:
        page.print(f"  subject {subject['subject']}, key {subject['key_fingerprint']}", soft_wrap=True)
    positions = ", ".join(str(event["position"]) for event in told["events"])
    page.print(f"  events at positions {positions}", soft_wrap=True)
    sealed = (
        "proofs are in the receipt (--json)"
        if told["sealed"]
        else "not sealed yet: ask for the receipt later"
    )
    page.print(f"  {sealed}", soft_wrap=True)


def show_check(told: dict[str, Any], *, as_json: bool) -> None:
    """Show what a check counted, and each thing that it found wrong."""
    if as_json:
        print_json(told)
        return
    page = console()
    kept, gone, lost = told["payloads"], told["gone"], told["lost"]
    page.print(f"{kept:,} payloads, of which {gone:,} erased or expired; {lost:,} lost")
    for finding in told["findings"]:
        where = f"{finding['request_id']} {finding['part']}: " if finding["request_id"] else ""
        page.print(f"{finding['trouble']}: {where}{finding['detail']}", markup=False, soft_wrap=True)
