"""A limit that nobody told: guessed below the rate that was refused, and growing back in even steps."""

from typing import Final

from apikeyrouter.domain.windows import MINUTE_US

GROWTH_PERCENT: Final = 5
ESTIMATE_PERCENT: Final = 90


def estimated_limit(refused_rate: int) -> int:
    """Guess the limit from how much was asked for when it was refused."""
    return max(1, refused_rate * ESTIMATE_PERCENT // 100)


def grown_limit(estimate: int, since_us: int, now_us: int) -> int:
    """Return what an estimate has become: 5 % of it more for every whole minute without a new one."""
    minutes = max(0, now_us - since_us) // MINUTE_US
    return estimate + estimate * GROWTH_PERCENT * minutes // 100


def grown_at_us(estimate: int, since_us: int, amount: int) -> int:
    """Return the first instant at which an estimate has grown to an amount."""
    missing = max(0, amount - estimate)
    return since_us + -(-missing * 100 // (estimate * GROWTH_PERCENT)) * MINUTE_US


def next_growth_us(since_us: int, now_us: int) -> int:
    """Return when the next whole minute is over."""
    return since_us + (max(0, now_us - since_us) // MINUTE_US + 1) * MINUTE_US
