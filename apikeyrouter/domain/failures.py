"""Upstream failures, classified: the class decides who may be asked next and what becomes of the key."""

from itertools import product

import msgspec

from apikeyrouter.domain.failure_classes import (
    LONGEST_WAIT_US,
    SECOND_US,
    Complaint,
    Dialect,
    FailureClass,
    Handling,
    KeyEffect,
    NextTry,
    Sign,
)
from apikeyrouter.domain.failure_tables import HANDLING, SIGNS, UNKNOWN, UNKNOWN_REFUSAL
from apikeyrouter.domain.rate_limits import RateLimitReport, reset_after_us

__all__ = [
    "HANDLING",
    "LONGEST_WAIT_US",
    "SECOND_US",
    "AttemptFailedError",
    "Complaint",
    "Dialect",
    "Failure",
    "FailureClass",
    "Handling",
    "KeyEffect",
    "NextTry",
    "Sign",
    "classify",
    "failure_of",
]


class Failure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A classified failure. `body` is the provider's own error, kept only where the client is at fault."""

    failure_class: FailureClass
    status: int | None = None
    code: str | None = None
    retry_after_us: int | None = None
    sent: bool = True
    body: bytes | None = None
    limits: tuple[RateLimitReport, ...] = ()

    @property
    def handling(self) -> Handling:
        """The row of the table for this failure."""
        return HANDLING[self.failure_class]

    @property
    def wait_us(self) -> int:
        """How long the key must rest: what the provider said, bounded, or the class's default.

        Gone quota is not back in the seconds that some providers name beside it.
        """
        if self.retry_after_us is None:
            return self.handling.default_wait_us
        said_us = min(max(self.retry_after_us, 0), LONGEST_WAIT_US)
        gone = self.failure_class is FailureClass.QuotaExhausted
        return max(said_us, self.handling.default_wait_us) if gone else said_us


class AttemptFailedError(Exception):
    """Raised by provider adapters: one upstream call did not succeed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.failure_class.value)
        self.failure = failure


def failure_of(
    status: int,
    complaint: Complaint | None,
    *,
    asked_us: int | None = None,
    limits: tuple[RateLimitReport, ...] = (),
) -> Failure:
    """Make a failure of what an upstream said instead of an answer.

    The wait is what the headers ask for, else the body, else, for rate limits only, when the used-up
    limits are full again.
    """
    said = complaint or Complaint()
    failure_class = classify(status, said).failure_class
    wait_us = said.wait_us if asked_us is None else asked_us
    if wait_us is None and failure_class is FailureClass.RateLimited:
        wait_us = reset_after_us(limits)
    return Failure(
        failure_class=failure_class,
        status=status,
        code=said.code or said.kind,
        retry_after_us=None if wait_us is None else min(wait_us, LONGEST_WAIT_US),
        limits=limits,
    )


def classify(status: int | None, said: Complaint) -> Sign:
    """Find the row that knows an answer which is not a success.

    A code outranks the status; a type does so only in rows that name both. A status under 400 says nothing.
    """
    if status is None or status < 400:
        status = said.status
    sign = _by_code(status, said) or _by_message(status, said) or _by_status(status, said)
    if sign is not None:
        return sign
    return UNKNOWN_REFUSAL if status is not None and status < 500 else UNKNOWN


_KEYED = {
    (dialect, sign.status, sign.kind, sign.code): sign
    for dialect, signs in SIGNS.items()
    for sign in signs
    if sign.code_part is None and sign.opening is None
}


def _by_code(status: int | None, said: Complaint) -> Sign | None:
    if said.code is None:
        return None
    keyed = _first(said.dialect, (status, None, said.code), (None, None, said.code))
    if keyed is not None:
        return keyed
    parts = (s for s in SIGNS[said.dialect] if s.code_part and s.code_part in said.code)
    return next((sign for sign in parts if sign.status == status), None)


def _by_message(status: int | None, said: Complaint) -> Sign | None:
    return next(
        (
            sign
            for sign in SIGNS[said.dialect]
            if sign.opening and sign.status == status and said.message.startswith(sign.opening)
        ),
        None,
    )


def _by_status(status: int | None, said: Complaint) -> Sign | None:
    if said.kind is None:
        return _first(said.dialect, (status, None, None))
    return _first(said.dialect, (status, said.kind, None), (status, None, None), (None, said.kind, None))


def _first(dialect: Dialect, *keys: tuple[int | None, str | None, str | None]) -> Sign | None:
    """Look each key up, the dialect's own rows before those that all share."""
    dialects = (dialect, Dialect.Generic)
    return next((_KEYED[(d, *k)] for k, d in product(keys, dialects) if (d, *k) in _KEYED), None)
