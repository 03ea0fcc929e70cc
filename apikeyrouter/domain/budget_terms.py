"""The terms of a budget as administrators write them: US dollars, a period, a mode."""

from collections.abc import Iterable
from decimal import MAX_PREC, Context, Decimal, InvalidOperation
from typing import Final, TypeVar

from apikeyrouter.domain.events import BudgetTerms
from apikeyrouter.domain.models.budget import BudgetScope, EnforcementMode, TimeWindow
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.pricing import NANO_PER_USD
from apikeyrouter.domain.windows import zone_named

MOST_USD: Final = 1_000_000_000
LONGEST_CUSTOM_S: Final = 10 * 366 * 86_400
DEFAULT_ALERTS: Final = (80, 100)
MOST_PERCENT: Final = 1000

_EXACT: Final = Context(prec=MAX_PREC)
"""Multiplies without rounding: what has too many places must be seen to have them."""

UNITS: Final = {
    TimeWindow.Hourly: "hour",
    TimeWindow.Daily: "day",
    TimeWindow.Weekly: "week",
    TimeWindow.Monthly: "month",
    TimeWindow.Custom: "custom",
    TimeWindow.Total: "total",
}
PERIODS: Final = {unit: period for period, unit in UNITS.items()}
Word = TypeVar("Word", BudgetScope, EnforcementMode, TimeWindow)


def parse_terms(  # noqa: PLR0913 - the fields of a budget
    limit: object,
    period: object,
    enforcement_mode: object,
    *,
    rolling: bool = False,
    seconds: int | None = None,
    timezone: str = "UTC",
    alerts_percent: Iterable[int] | None = None,
    downgrade: bool = False,
) -> BudgetTerms:
    """Read the terms of a budget, or raise `InvalidRequestError` naming the field at fault."""
    window = word(TimeWindow, period, "period")
    if (window is TimeWindow.Custom) != (seconds is not None):
        told = "needs its length in seconds" if seconds is None else "has its own length"
        raise InvalidRequestError(f"period {window} {told}", param="seconds")
    if seconds is not None and not _is_whole(seconds, LONGEST_CUSTOM_S):
        raise InvalidRequestError("seconds must be a whole number from 1 to ten years", param="seconds")
    if rolling and (window is TimeWindow.Total or timezone != "UTC"):
        raise InvalidRequestError("a rolling budget has a length and no time zone", param="rolling")
    _check_zone(timezone)
    return BudgetTerms(
        limit_nano_usd=parse_usd(limit, "limit"),
        kind="rolling" if rolling else "fixed",
        unit=UNITS[window],
        seconds=seconds or 0,
        zone=timezone,
        enforcement=word(EnforcementMode, enforcement_mode, "enforcement_mode"),
        alerts_percent=_percentages(DEFAULT_ALERTS if alerts_percent is None else alerts_percent),
        downgrade=downgrade,
    )


def parse_usd(given: object, param: str) -> int:
    """Read US dollars as nano-USD, exactly; a float is refused, for its cents are not what they seem."""
    try:
        amount = (
            Decimal(given) if isinstance(given, str | int | Decimal) and not isinstance(given, bool) else None
        )
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or not 0 <= amount <= MOST_USD:
        raise InvalidRequestError(
            f"{param} must be US dollars as a Decimal, a whole number or a text, from 0 to a billion",
            param=param,
        )
    nano_usd = _EXACT.multiply(amount, NANO_PER_USD)
    if nano_usd != int(nano_usd):
        raise InvalidRequestError(f"{param} has more than nine places behind the point", param=param)
    return int(nano_usd)


def word(words: type[Word], given: object, param: str) -> Word:
    """Read one of the words that are known, or say which those are."""
    try:
        return words(str(given))
    except ValueError:
        known = ", ".join(words)
        raise InvalidRequestError(
            f"unknown {param} {str(given)[:40]!r}; known: {known}", param=param
        ) from None


def _check_zone(given: object) -> None:
    try:
        zone_named(str(given))
    except InvalidRequestError as error:
        raise InvalidRequestError(error.message, param="timezone") from None


def _is_whole(given: object, most: int) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= most


def _percentages(given: Iterable[int]) -> tuple[int, ...]:
    found = list(given) if isinstance(given, Iterable) else [None]
    if not all(_is_whole(each, MOST_PERCENT) for each in found):
        raise InvalidRequestError(
            f"alerts_percent must be whole numbers from 1 to {MOST_PERCENT}", param="alerts_percent"
        )
    return tuple(sorted(set(found)))
