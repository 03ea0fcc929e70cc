"""Limits as they are written on the command line: NAME=AMOUNT."""

from collections.abc import Iterable

import typer

from apikeyrouter.domain.quota_limits import is_quota_entry

HOW = "write each limit as NAME=AMOUNT, such as rpm=500 or tpm:gpt-4o=40000, and NAME= to lift one"


def parse_limits(given: Iterable[str]) -> dict[str, int | str | None]:
    """Return what is to be declared; the words that were given are not repeated, they could be a key."""
    limits: dict[str, int | str | None] = {}
    for word in given:
        name, equals, amount = word.rpartition("=")
        if not equals or not is_quota_entry(name) or name in limits:
            raise typer.BadParameter(HOW, param_hint="NAME=AMOUNT")
        limits[name] = _amount(amount)
    return limits


def _amount(text: str) -> int | str | None:
    """Read an amount; other words, such as a time zone, are judged where metadata enters."""
    if not text:
        return None
    digits = text.replace("_", "")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else text
